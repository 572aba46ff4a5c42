"""The handler of the forwarder: judges a query, answers it from the cache, or asks the upstreams."""

import asyncio
import logging
from asyncio import Future, TaskGroup
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxywatch.clock import Clock
from proxywatch.dns import message, names, reply
from proxywatch.dns.access import Access
from proxywatch.dns.answer import Answer, Transport
from proxywatch.dns.cache import Cache, Entry
from proxywatch.dns.message import FORMERR, NOTIMP, NXDOMAIN, REFUSED, SERVFAIL, Query, Question, Response
from proxywatch.dns.names import Blocked
from proxywatch.dns.observer import Observer
from proxywatch.dns.rate import InFlight, Rate
from proxywatch.dns.upstream.base import UpstreamError
from proxywatch.errors import ParseError

log = logging.getLogger(__name__)

_META = frozenset((0, message.OPT, *range(249, 253)))
"""Types that are no question to a resolver: OPT, TKEY, TSIG, IXFR, AXFR."""
_CLASSES = frozenset((0, 254, 255))
_LOCAL_TTL = 86400
_OPCODE = message.OPCODE >> 8
_SILENCE = Answer(b"", "uncacheable")


@dataclass(slots=True)
class Counts:
    """Queries that were answered, since the start; `hits + misses + uncacheable == queries` at any time.

    `stale`, `joined` and `failed` are among them: stale answers, queries that waited for another's answer,
    and queries for which no upstream had one.
    """

    queries: int = 0
    hits: int = 0
    misses: int = 0
    uncacheable: int = 0
    stale: int = 0
    joined: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Who may ask, and how much.

    Attributes:
        access: Who may ask at all.
        rate: Queries a second of one client, by UDP.
        in_flight: Queries that wait for upstreams.
        flights: Questions that upstreams are asked at once.
    """

    access: Access
    rate: Rate
    in_flight: InFlight
    flights: int


class Resolver:
    """Answers queries.

    Attributes:
        blocked: Names that get no answer; may be replaced.
        counts: What became of the queries.
        cache: The answers that are kept.
    """

    def __init__(
        self,
        ask: Callable[[Question], Awaitable[Response]],
        cache: Cache,
        bounds: Bounds,
        group: TaskGroup,
        clock: Clock,
        *,
        stale_after: float = 1.8,
        observer: Observer | None = None,
    ) -> None:
        """Be handed all that it needs.

        Args:
            ask: Asks the upstreams; ends by itself in bounded time, with UpstreamError where none answers.
            cache: Keeps answers.
            bounds: Who may ask, and how much.
            group: Where upstreams are asked.
            clock: For lives and times.
            stale_after: Seconds to wait for upstreams before a stale answer is given.
            observer: Is told of each answer.
        """
        self.blocked = Blocked()
        self.counts = Counts()
        self.cache = cache
        self._ask = ask
        self._bounds = bounds
        self._group = group
        self._clock = clock
        self._stale_after = stale_after
        self._observer = observer
        self._flights: dict[Question, Future[Entry | None]] = {}

    @property
    def flights(self) -> int:
        """Questions that upstreams are being asked now."""
        return len(self._flights)

    async def answer(self, query: bytes, transport: Transport, client: str) -> Answer:
        """Answer one query; see `answer.Handler`."""
        began = self._clock.monotonic()
        parsed = self._judge(query, transport, client, began)
        answer = parsed if isinstance(parsed, Answer) else await self._look_up(parsed, client, began)
        if transport == "udp" and isinstance(parsed, Query) and len(answer.wire) > reply.limit(parsed):
            answer = answer._replace(wire=reply.truncated(parsed, answer.wire))
        self._count(answer)
        if self._observer is not None:
            self._tell(self._observer, query, (transport, client), answer, began)
        return answer

    # Before the cache

    def _judge(self, wire: bytes, transport: Transport, client: str, now: float) -> Answer | Query:
        """The query, or the answer to what is no question for the cache or the upstreams."""
        if not message.is_query(wire):
            return _SILENCE
        standing = self._bounds.access.standing(client)
        if standing == "refused":
            return _refusal(wire, REFUSED)
        if wire[2] & _OPCODE:
            return _refusal(wire, NOTIMP)
        try:
            query = message.parse_query(wire)
        except ParseError:
            return _refusal(wire, FORMERR)
        limited = standing == "allowed" and transport == "udp"
        return (
            (self._too_often(query, client, now) if limited else None) or self._answered_here(query) or query
        )

    def _too_often(self, query: Query, client: str, now: float) -> Answer | None:
        verdict = self._bounds.rate.admit(client, now)
        if verdict == "answer":
            return None
        if verdict == "drop":
            return _SILENCE
        return Answer(reply.truncated(query, reply.error(query, message.NOERROR)), "uncacheable")

    def _answered_here(self, query: Query) -> Answer | None:
        question = query.question
        if query.edns:
            return Answer(reply.error(query, message.BADVERS), "uncacheable")
        if question.type in _META or question.klass in _CLASSES:
            return Answer(reply.error(query, REFUSED), "uncacheable")
        if (local := names.local(question.name, question.type)) is not None:
            return Answer(reply.records(query, local.rcode, local.data, _LOCAL_TTL), "uncacheable")
        if question.name in self.blocked:
            return Answer(reply.error(query, NXDOMAIN, reply.BLOCKED), "uncacheable")
        return None

    # The cache, then the upstreams

    async def _look_up(self, query: Query, client: str, now: float) -> Answer:
        question = query.question
        if (entry := self.cache.get(question, now)) is not None:
            wire = reply.from_wire(query, entry.fresh(now), entry.flags, entry.rcode)
            return Answer(wire, "hit")
        stale = self.cache.stale(question, now)
        if self.cache.failed(question, now):
            return Answer(self._without_upstream(query, stale), "hit")
        entry = await self._wait(question, client, self._stale_after if stale else None)
        if entry is None:
            return Answer(self._without_upstream(query, stale), "miss")
        wire = reply.from_wire(query, entry.fresh(self._clock.monotonic()), entry.flags, entry.rcode)
        return Answer(wire, "miss")

    def _without_upstream(self, query: Query, stale: Entry | None) -> bytes:
        if stale is None:
            self.counts.failed += 1
            return reply.error(query, SERVFAIL, reply.NO_REACHABLE)
        self.counts.stale += 1
        return reply.from_wire(query, stale.stale(), stale.flags, stale.rcode, reply.STALE)

    async def _wait(self, question: Question, client: str, longest: float | None) -> Entry | None:
        """The upstreams' answer; None if there is none, not in time, or no room to wait for it."""
        bounds = self._bounds
        if not bounds.in_flight.enter(client, local=bounds.access.standing(client) == "local"):
            return None
        try:
            flight = self._flights.get(question)
            if flight is not None:
                self.counts.joined += 1
            elif len(self._flights) >= bounds.flights:
                return None
            else:
                flight = self._flights[question] = asyncio.get_running_loop().create_future()
                self._group.create_task(self._fly(question, flight), name="dns question")
            async with asyncio.timeout(longest):
                return await asyncio.shield(flight)
        except TimeoutError:
            return None
        finally:
            bounds.in_flight.leave(client)

    async def _fly(self, question: Question, flight: "Future[Entry | None]") -> None:
        entry = None
        try:
            response = await self._ask(question)
            entry = self.cache.put(question, response, self._clock.monotonic())
        except UpstreamError as error:
            if error.reason != "local":
                self.cache.fail(question, self._clock.monotonic())
        except Exception:
            log.exception("a question to the upstreams failed")
        finally:
            del self._flights[question]
            if not flight.done():
                flight.set_result(entry)

    # Books

    def _count(self, answer: Answer) -> None:
        counts = self.counts
        counts.queries += 1
        if answer.cached == "hit":
            counts.hits += 1
        elif answer.cached == "miss":
            counts.misses += 1
        else:
            counts.uncacheable += 1

    def _tell(
        self, observer: Observer, query: bytes, origin: tuple[Transport, str], answer: Answer, began: float
    ) -> None:
        try:
            observer.answered(query, *origin, answer, self._clock.monotonic() - began)
        except Exception:
            log.exception("an observer of DNS queries failed")
            self._observer = None


def _refusal(wire: bytes, rcode: int) -> Answer:
    return Answer(reply.header_error(wire, rcode), "uncacheable")
