"""The counts of a DNS server. Every query is counted when it ends, in all of them at one moment."""

import threading
from dataclasses import dataclass

from proxywatch.instrument.dns_message import code_label, type_label
from proxywatch.instrument.event import Cache, Outcome
from proxywatch.instrument.histogram import Distribution, Histogram
from proxywatch.instrument.ledger import OTHER
from proxywatch.instrument.samples import Samples, Window
from proxywatch.instrument.space_saving import Counted, SpaceSaving

SOURCES = ("udp", "tcp", "tls", "https", "quic")
MALFORMED, NONE = "malformed", "none"


@dataclass(frozen=True, slots=True)
class DnsCounts:
    """What a DNS server has done so far.

    `hits + misses + uncacheable = queries`, and `queries` is also the sum of each breakdown.

    Args:
        queries: Queries that have ended, in whatever way.
        in_flight: Queries that have come and not ended.
        by_source_and_type: Queries by how they came and what they asked for.
        by_response_code: Queries by the code of their response; `none` for those without one.
        hits: Queries answered from a cache.
        misses: Queries that had to be asked for.
        uncacheable: Queries of which the handler did not tell.
        errors: Queries whose handler raised.
        dropped: Queries whose handler gave no answer.
        cancelled: Queries whose handler was cancelled.
        response_times: Seconds from query to end.
    """

    queries: int
    in_flight: int
    by_source_and_type: dict[tuple[str, str], int]
    by_response_code: dict[str, int]
    hits: int
    misses: int
    uncacheable: int
    errors: int
    dropped: int
    cancelled: int
    response_times: Distribution

    @property
    def by_type(self) -> dict[str, int]:
        """Queries by type; `malformed` for those that cannot be read, `other` for rare types."""
        found: dict[str, int] = {}
        for (_, kind), count in self.by_source_and_type.items():
            found[kind] = found.get(kind, 0) + count
        return found

    @property
    def by_source(self) -> dict[str, int]:
        """Queries by how they came."""
        found: dict[str, int] = {}
        for (source, _), count in self.by_source_and_type.items():
            found[source] = found.get(source, 0) + count
        return found

    @property
    def malformed(self) -> int:
        """Queries that could not be read."""
        return self.by_type.get(MALFORMED, 0)


class Tally:
    """Counts queries; from any thread."""

    __slots__ = (
        "_caches", "_codes", "_domains", "_in_flight", "_lock", "_outcomes", "_places", "_queries",
        "_received", "_samples", "_sources", "_times",
    )  # fmt: skip

    def __init__(self, now: float, sources: tuple[str, ...], capacity: int) -> None:
        self._sources = frozenset(sources)
        self._lock = threading.Lock()
        self._received = self._queries = self._in_flight = 0
        self._places: dict[tuple[str, str], int] = {}
        self._codes: dict[str, int] = {}
        self._caches: dict[Cache, int] = {"hit": 0, "miss": 0, "uncacheable": 0}
        self._outcomes: dict[Outcome, int] = {"answered": 0, "dropped": 0, "error": 0, "cancelled": 0}
        self._times = Histogram()
        self._domains = SpaceSaving(capacity)
        self._samples = Samples(now, lambda: (self._received,))

    def begin(self, now: float) -> int:
        """A query has come; returns its number."""
        with self._lock:
            if now >= self._samples.turn:
                self._samples.advance(now)
            self._received += 1
            self._in_flight += 1
            return self._received

    def end(
        self,
        source: str,
        kind: str,
        domain: str,
        code: str,
        *,
        cache: Cache,
        outcome: Outcome,
        seconds: float,
    ) -> None:
        """A query has come to its end."""
        place = (source if source in self._sources else OTHER, type_label(kind))
        code = code_label(code)
        with self._lock:
            self._in_flight -= 1
            self._queries += 1
            self._places[place] = self._places.get(place, 0) + 1
            self._codes[code] = self._codes.get(code, 0) + 1
            self._caches[cache] += 1
            self._outcomes[outcome] += 1
            self._times.add(seconds)
            if domain:
                self._domains.add(domain)

    def counts(self) -> DnsCounts:
        """All counts at one moment."""
        with self._lock:
            return DnsCounts(
                queries=self._queries,
                in_flight=self._in_flight,
                by_source_and_type=dict(self._places),
                by_response_code=dict(self._codes),
                hits=self._caches["hit"],
                misses=self._caches["miss"],
                uncacheable=self._caches["uncacheable"],
                errors=self._outcomes["error"],
                dropped=self._outcomes["dropped"],
                cancelled=self._outcomes["cancelled"],
                response_times=self._times.distribution(),
            )

    def rate(self, now: float, seconds: Window) -> float:
        """Queries per second."""
        with self._lock:
            return self._samples.rates(now, seconds)[0]

    def top(self, limit: int) -> list[Counted]:
        """The names asked for most often."""
        with self._lock:
            return self._domains.top(limit)

    def error(self) -> int:
        """How often a name that is not among the top may have been asked for, at most."""
        with self._lock:
            return self._domains.error
