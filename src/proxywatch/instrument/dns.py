"""MetricsAwareDns: events and statistics for a DNS server that knows nothing of them."""

import time as wall
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal, ParamSpec, TypeVar, overload

from proxywatch.instrument import dns_reading
from proxywatch.instrument.answer import Answer
from proxywatch.instrument.dns_handler import Cached, wrapped_handler
from proxywatch.instrument.event import Cache, Outcome, QueryAnswered, QueryReceived
from proxywatch.instrument.hub import GRACE, QUEUE, Channel, Hub, Subscription
from proxywatch.instrument.query import Query
from proxywatch.instrument.samples import Window
from proxywatch.instrument.tally import SOURCES, DnsCounts, Tally

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache was good for.

    Args:
        hits: Queries answered from it.
        misses: Queries that had to be asked for.
        uncacheable: Queries of which the handler did not tell.
        hit_rate: Hits among hits and misses, 0 to 1; None when there were neither.
    """

    hits: int
    misses: int
    uncacheable: int
    hit_rate: float | None


@dataclass(frozen=True, slots=True)
class TopDomain:
    """A name that is asked for often.

    Args:
        domain: The name.
        count: How often, at most.
        error: By how much `count` may be too high.
    """

    domain: str
    count: int
    error: int


class MetricsAwareDns(Hub):
    """Events and statistics of a DNS server's queries.

    Tell it of queries by wrapping a handler (`wrap`), or with `begin` and the methods of the query that it
    returns.

    Args:
        sources: Transports that are told apart; queries over another one are counted under `other`.
        capacity: Counters for the names asked for most often.
        grace: Seconds that listeners have on leaving `async with` for events that still wait.
        clock: Seconds that never go back.
        time: Unix time in seconds, for events.
        ids: First part of query ids; random by default, so that ids stay unique across restarts.
    """

    def __init__(
        self,
        *,
        sources: tuple[str, ...] = SOURCES,
        capacity: int = 1000,
        grace: float = GRACE,
        clock: Callable[[], float] = wall.monotonic,
        time: Callable[[], float] = wall.time,
        ids: str | None = None,
    ) -> None:
        self._received = Channel[QueryReceived]()
        self._answered = Channel[QueryAnswered]()
        super().__init__((self._received, self._answered), grace)
        self._clock = clock
        self._time = time
        self._ids = token_hex(4) if ids is None else ids
        self._tally = Tally(clock(), sources, capacity)

    def begin(self, message: object, *, source: str = "udp", client: str = "") -> Query:
        """A query has come; the caller reports its answer to what is returned.

        Args:
            message: The query: bytes, or a message of dnspython or dnslib.
            source: How it came: `udp`, `tcp`, `tls`, `https` or `quic`.
            client: Address of the client without its port.
        """
        asked = dns_reading.question(message)
        query = Query(self._tally, self._clock, self._on_end, asked, source=source, client=client)
        if self._received.listeners:
            self._received.tell(
                QueryReceived(
                    self._id(query), query.message_id, query.domain, query.type, source, client, self._time()
                )
            )
        return query

    @overload
    def wrap(
        self,
        handler: Callable[P, Coroutine[Any, Any, Answer[M]]],
        *,
        source: str | Callable[..., str] = "udp",
        client: str | Callable[..., str] = "",
        cached: Cached | None = None,
    ) -> Callable[P, Coroutine[Any, Any, M]]: ...

    @overload
    def wrap(
        self,
        handler: Callable[P, Answer[M]],
        *,
        source: str | Callable[..., str] = "udp",
        client: str | Callable[..., str] = "",
        cached: Cached | None = None,
    ) -> Callable[P, M]: ...

    @overload
    def wrap(
        self,
        handler: Callable[P, R],
        *,
        source: str | Callable[..., str] = "udp",
        client: str | Callable[..., str] = "",
        cached: Cached | None = None,
    ) -> Callable[P, R]: ...

    def wrap(
        self,
        handler: Callable[..., Any],
        *,
        source: str | Callable[..., str] = "udp",
        client: str | Callable[..., str] = "",
        cached: Cached | None = None,
    ) -> Callable[..., Any]:
        """Count the queries of a handler, which is given what it was given before. It stays as `__wrapped__`.

        The handler's first argument is the query: bytes, or a message of dnspython or dnslib. It returns the
        response in the same form, or an `Answer` with it, or None for no answer; at once or as a coroutine.
        Wrapping again is without effect.

        Args:
            handler: The handler.
            source: How queries come, or a function that is given the handler's arguments and tells.
            client: Address of the client, or such a function.
            cached: Tells of a query and its response whether it came from a cache, where the handler does
                not.
        """

        def begin(message: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Query:
            return self.begin(message, source=_told(source, args, kwargs), client=_told(client, args, kwargs))

        return wrapped_handler(handler, self, begin, cached)

    @overload
    def on(
        self,
        event: Literal["query-received"],
        listener: Callable[[QueryReceived], object],
        *,
        size: int = QUEUE,
        inline: bool = False,
    ) -> Subscription[QueryReceived]: ...

    @overload
    def on(
        self,
        event: Literal["query-answered"],
        listener: Callable[[QueryAnswered], object],
        *,
        size: int = QUEUE,
        inline: bool = False,
    ) -> Subscription[QueryAnswered]: ...

    def on(
        self, event: str, listener: Callable[[Any], object], *, size: int = QUEUE, inline: bool = False
    ) -> Subscription[Any]:
        """Have a function called with each event of a kind, as `MetricsAwareProxy.on` does."""
        match event:
            case "query-received":
                return self._subscribe(self._received, listener, size, inline=inline)
            case "query-answered":
                return self._subscribe(self._answered, listener, size, inline=inline)
            case _:
                raise ValueError(f"There is no event {event!r}.")

    def get_total_queries(self) -> int:
        """Queries that have ended, in whatever way."""
        return self.get_counts().queries

    def get_queries_per_second(self, seconds: Window = 10) -> float:
        """Queries that came per second, over the last whole seconds."""
        return self._tally.rate(self._clock(), seconds)

    def get_cache_stats(self) -> CacheStats:
        """What the cache was good for."""
        counts = self.get_counts()
        asked = counts.hits + counts.misses
        rate = counts.hits / asked if asked else None
        return CacheStats(counts.hits, counts.misses, counts.uncacheable, rate)

    def get_top_domains(self, limit: int = 10) -> list[TopDomain]:
        """The names asked for most often, most frequent first."""
        return [TopDomain(it.key, it.count, it.error) for it in self._tally.top(limit)]

    def get_top_domains_error(self) -> int:
        """How often a name that `get_top_domains` does not know may have been asked for, at most."""
        return self._tally.error()

    def get_query_type_breakdown(self) -> dict[str, int]:
        """Queries by type; `malformed` for those that cannot be read, `other` for rare types."""
        return self.get_counts().by_type

    def get_counts(self) -> DnsCounts:
        """All counts so far, at one moment."""
        return self._tally.counts()

    def _on_end(self, query: Query, outcome: Outcome, cache: Cache, code: str, seconds: float) -> None:
        if self._answered.listeners:
            it = query
            self._answered.tell(
                QueryAnswered(
                    self._id(it), it.message_id, it.domain, it.type, it.source, it.client, self._time(),
                    outcome, cache, code, seconds,
                )
            )  # fmt: skip

    def _id(self, query: Query) -> str:
        return f"{self._ids}-{query.number}"


def _told(what: str | Callable[..., str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    if isinstance(what, str):
        return what
    try:
        return what(*args, **kwargs)
    except Exception:  # noqa: BLE001 - a fault in naming must not cost the client its answer
        return ""
