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
        by_source: Queries by transport: udp, tcp, https.
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


class Breakdown(Protocol):
    """Counts of whoever watches the queries."""

    @property
    def by_type(self) -> Mapping[str, int]:
        """Queries by record type."""

    @property
    def by_source(self) -> Mapping[str, int]:
        """Queries by transport."""

    @property
    def by_response_code(self) -> Mapping[str, int]:
        """Queries by the code of their reply."""


class Frequent(Protocol):
    """A name that is asked for often."""

    @property
    def domain(self) -> str:
        """The name."""

    @property
    def count(self) -> int:
        """How often."""

    @property
    def error(self) -> int:
        """By how much `count` may be too high."""


class Figures(Protocol):
    """Whoever watches the queries, as far as the document needs it."""

    def get_queries_per_second(self) -> float:
        """Over the last seconds."""

    def get_counts(self) -> Breakdown:
        """Since the start."""

    def get_top_domains(self, limit: int = 10) -> Sequence[Frequent]:
        """Most often first."""


def statistics(
    figures: Figures, counts: Counts, cache: Cache, pool: Pool, *, now: float, limit: int = 20
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
    breakdown = figures.get_counts()
    return Statistics(
        queries=counts.queries,
        queries_per_second=figures.get_queries_per_second(),
        by_type=dict(breakdown.by_type),
        by_source=dict(breakdown.by_source),
        response_codes=dict(breakdown.by_response_code),
        cache=_cache(counts, cache),
        top_domains=tuple(
            Domain(each.domain, each.count, each.error) for each in figures.get_top_domains(limit)
        ),
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
