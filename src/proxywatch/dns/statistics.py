"""What `GET /api/dns/stats` answers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from proxywatch.dns.cache import Cache
from proxywatch.dns.resolver import Counts
from proxywatch.dns.upstream.pool import Pool


class CacheStatistics(msgspec.Struct, frozen=True):
    """The cache.

    Attributes:
        hits: Queries answered from it.
        misses: Queries that upstreams had to be asked for.
        uncacheable: Queries in which it has no part.
        hit_rate: `hits` of `hits + misses`, from 0 to 1; null before the first of them.
        stale: Hits and misses that got an answer beyond its life.
        entries: Answers held.
        bytes: Memory that they hold.
        evicted: Answers that made room for others.
    """

    hits: int
    misses: int
    uncacheable: int
    hit_rate: float | None
    stale: int
    entries: int
    bytes: int
    evicted: int


class Domain(msgspec.Struct, frozen=True):
    """A name that is asked for often.

    Attributes:
        domain: The name.
        count: How often it was asked for, too high by `error` at most.
        error: The bound.
    """

    domain: str
    count: int
    error: int


class UpstreamStatistics(msgspec.Struct, frozen=True):
    """One resolver.

    Attributes:
        name: As in the settings.
        up: Whether it is asked before those that fail.
        answers: Answers so far.
        failures: Failures so far.
        mismatched: Packets that were not the answer to any query; many of them are an attack.
    """

    name: str
    up: bool
    answers: int
    failures: int
    mismatched: int


class Statistics(msgspec.Struct, frozen=True):
    """All of it, since the start.

    Attributes:
        queries: Queries answered; equal to `cache.hits + cache.misses + cache.uncacheable`.
        queries_per_second: Over the last seconds.
        by_type: Queries by record type.
        by_source: Queries by transport: udp, tcp, doh.
        response_codes: Replies by their code.
        cache: The cache.
        top_domains: The names that were asked for most, most often first.
        upstreams: The resolvers, in the order of the settings.
    """

    queries: int
    queries_per_second: float
    by_type: dict[str, int]
    by_source: dict[str, int]
    response_codes: dict[str, int]
    cache: CacheStatistics
    top_domains: tuple[Domain, ...]
    upstreams: tuple[UpstreamStatistics, ...]


class Figures(Protocol):
    """What is counted by whoever watches the queries."""

    def queries_per_second(self) -> float:
        """Over the last seconds."""

    def by_type(self) -> Mapping[str, int]:
        """Queries by record type."""

    def by_source(self) -> Mapping[str, int]:
        """Queries by transport."""

    def response_codes(self) -> Mapping[str, int]:
        """Replies by code."""

    def top_domains(self, limit: int) -> Sequence[tuple[str, int, int]]:
        """(name, count, error), most often first."""


def statistics(
    figures: Figures, counts: Counts, cache: Cache, pool: Pool, now: float, limit: int = 20
) -> Statistics:
    """Put the document together.

    Args:
        figures: From whoever watches the queries.
        counts: From the resolver.
        cache: The cache.
        pool: The resolvers.
        now: Monotonic seconds.
        limit: How many names to show.
    """
    return Statistics(
        queries=counts.queries,
        queries_per_second=figures.queries_per_second(),
        by_type=dict(figures.by_type()),
        by_source=dict(figures.by_source()),
        response_codes=dict(figures.response_codes()),
        cache=_cache(counts, cache),
        top_domains=tuple(Domain(*each) for each in figures.top_domains(limit)),
        upstreams=tuple(UpstreamStatistics(*each) for each in pool.rows(now)),
    )


def _cache(counts: Counts, cache: Cache) -> CacheStatistics:
    asked = counts.hits + counts.misses
    return CacheStatistics(
        hits=counts.hits,
        misses=counts.misses,
        uncacheable=counts.uncacheable,
        hit_rate=counts.hits / asked if asked else None,
        stale=counts.stale,
        entries=len(cache),
        bytes=cache.held,
        evicted=cache.evicted,
    )
