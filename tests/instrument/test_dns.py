"""A DNS handler answers as without the wrapper; its queries are counted once, in all breakdowns at a time."""

import asyncio
import contextlib
import inspect
import threading
from collections import Counter
from itertools import accumulate
from random import Random

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrument.loops import until
from proxywatch.instrument import (
    Answer,
    CacheStats,
    Delivery,
    MetricsAwareDns,
    QueryAnswered,
    QueryReceived,
    TopDomain,
    tell_cached,
)
from proxywatch.instrument.event import Cache
from proxywatch.instrument.tally import DnsCounts
from support.fakes import FakeClock


def ask(name: str = "www.example.com", kind: str = "A") -> bytes:
    return dns.message.make_query(name, kind, id=7).to_wire()


def reply(query: bytes, code: dns.rcode.Rcode = dns.rcode.NOERROR) -> bytes:
    response = dns.message.make_response(dns.message.from_wire(query))
    response.set_rcode(code)
    return response.to_wire()


def balance(counts: DnsCounts) -> None:
    """What adds up to the number of queries."""
    assert counts.hits + counts.misses + counts.uncacheable == counts.queries
    assert sum(counts.by_source_and_type.values()) == counts.queries
    assert sum(counts.by_type.values()) == sum(counts.by_source.values()) == counts.queries
    assert sum(counts.by_response_code.values()) == counts.queries
    assert counts.response_times.count == counts.queries
    assert counts.errors + counts.dropped + counts.cancelled <= counts.queries


class Noted:
    """A server on a clock of its own, and the events that it tells."""

    def __init__(self) -> None:
        self.clock = FakeClock(now=5000.0)
        self.dns = MetricsAwareDns(clock=self.clock.monotonic, time=self.clock.now, ids="q")
        self.received: list[QueryReceived] = []
        self.answered: list[QueryAnswered] = []
        self.dns.on("query-received", self.received.append, inline=True)
        self.dns.on("query-answered", self.answered.append, inline=True)


def test_events() -> None:
    """One event per query has both halves; the one before has the first."""
    noted = Noted()
    query = noted.dns.begin(ask("WWW.Example.com", "AAAA"), source="https", client="10.0.0.9")
    assert noted.dns.get_counts().in_flight == 1
    asyncio.run(noted.clock.advance(0.25))
    assert query.answer(reply(ask(), dns.rcode.NXDOMAIN), cached=True)
    assert not query.answer(None)
    assert not query.fail(ValueError())
    assert noted.received == [QueryReceived("q-1", 7, "www.example.com", "AAAA", "https", "10.0.0.9", 5000.0)]
    assert noted.answered == [
        QueryAnswered(
            "q-1",
            7,
            "www.example.com",
            "AAAA",
            "https",
            "10.0.0.9",
            5000.25,
            "answered",
            "hit",
            "NXDOMAIN",
            0.25,
        )
    ]
    assert noted.answered[0].cached
    assert (noted.received[0].name, noted.answered[0].name) == ("query-received", "query-answered")


def test_statistics() -> None:
    """Totals, rate, cache, top domains and types."""
    noted = Noted()
    server = noted.dns
    assert server.get_cache_stats() == CacheStats(0, 0, 0, None)
    for name, kind, cached in (
        ("a.se", "A", True),
        ("a.se", "MX", False),
        ("b.se", "A", True),
        ("c.se", "TYPE999", None),
    ):
        server.begin(ask(name, kind)).answer(reply(ask()), cached=cached)
    assert server.get_total_queries() == 4
    assert server.get_queries_per_second(1) == 0.0
    asyncio.run(noted.clock.advance(1.0))
    assert server.get_queries_per_second(1) == 4.0
    assert server.get_cache_stats() == CacheStats(2, 1, 1, 2 / 3)
    assert server.get_top_domains(2) == [TopDomain("a.se", 2, 0), TopDomain("b.se", 1, 0)]
    assert server.get_top_domains_error() == 0
    assert server.get_query_type_breakdown() == {"A": 2, "MX": 1, "other": 1}
    assert server.get_counts().by_source == {"udp": 4}
    balance(server.get_counts())


def test_hit_rate_needs_queries_of_the_cache() -> None:
    """A server that never tells has no hit rate, rather than one of 0."""
    server = MetricsAwareDns()
    server.begin(ask()).answer(reply(ask()))
    assert server.get_cache_stats() == CacheStats(0, 0, 1, None)


def test_bytes_at_once() -> None:
    """A plain function stays one, and gives what it gave."""
    server = MetricsAwareDns()

    @server.wrap
    def handle(query: bytes) -> bytes:
        """Its own words."""
        return reply(query)

    assert handle(ask()) == reply(ask())
    assert handle(query=ask()) == reply(ask())
    assert not inspect.iscoroutinefunction(handle)
    assert (handle.__name__, handle.__doc__) == ("handle", "Its own words.")
    assert server.get_counts().by_response_code == {"NOERROR": 2}
    assert server.get_cache_stats().uncacheable == 2


async def test_bytes_as_a_coroutine() -> None:
    """A coroutine function stays one, and its arguments say where a query came from."""
    noted = Noted()

    async def handle(query: bytes, peer: tuple[str, int]) -> bytes:
        await asyncio.sleep(0)
        assert noted.dns.get_counts().in_flight == 1
        assert peer[1] == 5353
        return reply(query)

    wrapped = noted.dns.wrap(handle, source="tcp", client=lambda _query, peer: peer[0])
    assert inspect.iscoroutinefunction(wrapped)
    assert await wrapped(ask(), ("10.0.0.1", 5353)) == reply(ask())
    assert (noted.answered[0].source, noted.answered[0].client) == ("tcp", "10.0.0.1")
    assert noted.dns.wrap(wrapped) is wrapped
    assert wrapped.__wrapped__ is handle  # type: ignore[attr-defined]


async def test_function_that_gives_an_awaitable() -> None:
    """It is counted when what it gives is done."""
    server = MetricsAwareDns()

    async def later(query: bytes) -> Answer[bytes]:
        await asyncio.sleep(0)
        return Answer(reply(query), cached=True)

    wrapped = server.wrap(lambda query: later(query))  # noqa: PLW0108
    pending = wrapped(ask())
    assert (server.get_counts().in_flight, server.get_total_queries()) == (1, 0)
    assert await pending == reply(ask())
    assert server.get_cache_stats() == CacheStats(1, 0, 0, 1.0)


async def test_dnspython_messages() -> None:
    """Messages of dnspython are read by their own methods, and stay what they are."""
    noted = Noted()

    async def handle(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.BADCOOKIE)
        return response

    query = dns.message.make_query("A\\032b.Example.com", "TYPE65280", id=3)
    response = await noted.dns.wrap(handle)(query)
    assert isinstance(response, dns.message.Message)
    event = noted.answered[0]
    assert (event.message_id, event.domain, event.type) == (3, "a\\032b.example.com", "TYPE65280")
    assert event.response_code == "BADCOOKIE"


@pytest.mark.parametrize("query", [bytearray(ask()), memoryview(ask())])
def test_bytes_like(query: bytearray | memoryview) -> None:
    """Any bytes will do."""
    server = MetricsAwareDns()
    server.wrap(lambda query: bytearray(reply(bytes(query))))(query)
    assert server.get_counts().by_response_code == {"NOERROR": 1}
    assert server.get_query_type_breakdown() == {"A": 1}


@pytest.mark.parametrize("query", [b"", b"rubbish", None, object(), dns.message.Message()])
def test_malformed(query: object) -> None:
    """What cannot be read is handed on as it is, and counted as malformed; so is such a response."""
    noted, seen = Noted(), list[object]()

    def handle(query: object) -> object:
        seen.append(query)
        return b"?"

    assert noted.dns.wrap(handle)(query) == b"?"
    assert seen == [query]
    assert noted.dns.get_counts().malformed == 1
    assert noted.dns.get_counts().by_response_code == {"malformed": 1}
    assert noted.dns.get_top_domains() == []
    assert noted.answered[0].message_id is None
    balance(noted.dns.get_counts())


def test_ways_to_tell_of_the_cache() -> None:
    """An Answer, a word from below, or a predicate; the Answer counts most."""
    server = MetricsAwareDns()

    def answers(query: bytes) -> Answer[bytes]:
        tell_cached(False)  # noqa: FBT003
        return Answer(reply(query), cached=True)

    def tells(query: bytes) -> bytes:
        tell_cached(True)  # noqa: FBT003
        tell_cached(False)  # noqa: FBT003
        return reply(query)

    def silent(query: bytes) -> bytes:
        return reply(query)

    def fault(_query: bytes, _response: bytes) -> bool:
        raise LookupError

    assert server.wrap(answers)(ask()) == reply(ask())
    assert server.get_cache_stats() == CacheStats(1, 0, 0, 1.0)
    server.wrap(tells, cached=lambda _query, _response: True)(ask())
    assert server.get_cache_stats() == CacheStats(1, 1, 0, 0.5)
    server.wrap(silent, cached=lambda query, response: query[:2] == response[:2])(ask())
    assert server.get_cache_stats() == CacheStats(2, 1, 0, 2 / 3)
    server.wrap(silent, cached=fault)(ask())
    server.wrap(silent)(ask())
    assert server.get_cache_stats() == CacheStats(2, 1, 2, 2 / 3)
    tell_cached(True)  # noqa: FBT003


async def test_tells_of_the_right_query() -> None:
    """Queries under way at the same time do not get each other's word."""
    noted = Noted()
    names: dict[str, bool | None] = {"a.se": True, "b.se": False, "c.se": None}

    async def handle(query: bytes) -> bytes:
        await asyncio.sleep(0)
        tell_cached(names[noted.received[-1].domain] if len(noted.received) == 0 else of(query))
        await asyncio.sleep(0)
        return reply(query)

    def of(query: bytes) -> bool | None:
        return names[dns.message.from_wire(query).question[0].name.to_text(omit_final_dot=True)]

    wrapped = noted.dns.wrap(handle)
    await asyncio.gather(*(wrapped(ask(name)) for name in names))
    assert {event.domain: event.cache for event in noted.answered} == {
        "a.se": "hit",
        "b.se": "miss",
        "c.se": "uncacheable",
    }


FAULTS = [ValueError(), KeyboardInterrupt(), asyncio.CancelledError()]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("coroutine", [True, False])
async def test_handler_that_raises(fault: BaseException, coroutine: bool) -> None:  # noqa: FBT001
    """The same object goes on; the query is counted once, without a response."""
    noted = Noted()

    async def later(_query: bytes) -> bytes:
        raise fault

    def at_once(_query: bytes) -> bytes:
        raise fault

    seen = list[BaseException]()
    try:
        if coroutine:
            await noted.dns.wrap(later)(ask())
        else:
            noted.dns.wrap(at_once)(ask())
    except BaseException as error:  # noqa: BLE001
        seen.append(error)
    assert seen == [fault]
    counts = noted.dns.get_counts()
    cancelled = isinstance(fault, asyncio.CancelledError)
    assert (counts.cancelled, counts.errors) == ((1, 0) if cancelled else (0, 1))
    assert (counts.in_flight, counts.by_response_code) == (0, {"none": 1})
    assert noted.answered[0].outcome == ("cancelled" if cancelled else "error")
    balance(counts)


async def test_cancelled_from_outside() -> None:
    """A query whose client has gone is cancelled, once."""
    noted = Noted()

    @noted.dns.wrap
    async def handle(_query: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with asyncio.TaskGroup() as group:
        task = group.create_task(handle(ask()))
        await until(lambda: noted.dns.get_counts().in_flight == 1)
        task.cancel()
    assert task.cancelled()
    assert noted.answered[0].outcome == "cancelled"


def test_dropped() -> None:
    """None is no answer; neither is a block that gives none."""
    server = MetricsAwareDns()
    assert server.wrap(lambda _query: None)(ask()) is None
    with server.begin(ask()):
        pass
    with contextlib.suppress(ValueError), server.begin(ask()):
        raise ValueError
    counts = server.get_counts()
    assert (counts.dropped, counts.errors, counts.by_response_code) == (2, 1, {"none": 3})


def test_fault_in_naming() -> None:
    """A function that names source or client may fail; the answer comes all the same."""
    noted = Noted()

    def fail(_query: bytes) -> str:
        raise LookupError

    assert noted.dns.wrap(reply_to, source=fail, client=fail)(ask()) == reply(ask())
    assert (noted.answered[0].source, noted.answered[0].client) == ("", "")
    assert noted.dns.get_counts().by_source == {"other": 1}


def reply_to(query: bytes) -> bytes:
    return reply(query)


def test_slow_listener_holds_up_nobody() -> None:
    """What a listener cannot take in time is lost and counted."""
    server, go = MetricsAwareDns(), threading.Event()
    subscription = server.on("query-answered", lambda _event: go.wait(), size=3)
    for _ in range(10):
        server.wrap(reply_to)(ask())
    assert subscription.delivery == Delivery(0, 0, 7, 3)
    go.set()
    asyncio.run(until(lambda: subscription.delivery == Delivery(3, 0, 7, 0)))


def test_unknown_event() -> None:
    """An unknown event is refused."""
    with pytest.raises(ValueError, match="no event 'query'"):
        MetricsAwareDns().on("query", print)  # type: ignore[call-overload]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "answer", "drop", "fail", "cancel", "wait"]),
        st.integers(0, 5),
        st.sampled_from([True, False, None]),
    ),
    max_size=100,
)


@given(STEPS)
def test_conservation(steps: list[tuple[str, int, bool | None]]) -> None:
    """Hits, misses and uncacheable add up to the queries at every moment, and all agree with an own count."""
    noted = Noted()
    open_, truth = [noted.dns.begin(b"rubbish", source="carrier pigeon")], Counter[str]()
    begun = 1
    for step, which, cached in steps:
        if step == "begin":
            open_.append(noted.dns.begin(ask(f"n{which}.se", ["A", "AAAA", "TYPE999"][which % 3])))
            begun += 1
        elif open_ and step != "wait":
            query = open_.pop(which % len(open_))
            query.cached = cached
            word: Cache = "uncacheable" if cached is None else "hit" if cached else "miss"
            truth[word] += 1
            truth["all"] += 1
            match step:
                case "answer":
                    query.answer(reply(ask()))
                case "drop":
                    query.answer(None)
                case "fail":
                    query.fail(ValueError())
                case _:
                    query.fail(asyncio.CancelledError())
        counts = noted.dns.get_counts()
        balance(counts)
        assert (counts.queries, counts.in_flight) == (truth["all"], len(open_))
        assert counts.queries + counts.in_flight == begun
        assert (counts.hits, counts.misses) == (truth["hit"], truth["miss"])
    assert len(noted.answered) == truth["all"]


def test_threads() -> None:
    """Many threads and a reader: every look balances, and nothing is lost."""
    server, stop = MetricsAwareDns(), threading.Event()
    handle = server.wrap(lambda query: Answer(query, cached=True))
    looks = list[int]()

    def look() -> None:
        while not stop.is_set():
            counts = server.get_counts()
            balance(counts)
            looks.append(counts.queries)

    def work() -> None:
        for _ in range(2000):
            handle(ASKED)

    reader = threading.Thread(target=look)
    workers = [threading.Thread(target=work) for _ in range(4)]
    for thread in (reader, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    reader.join()
    assert server.get_counts().hits == server.get_total_queries() == 8000
    assert looks == sorted(looks)


ASKED = ask()


def test_top_domains_of_a_zipf_load() -> None:
    """More names than counters: the ten most popular are found, each count within its error."""
    server, dice = MetricsAwareDns(capacity=200), Random(5)
    weights = list(accumulate(1 / rank for rank in range(1, 2001)))
    queries = {name: ask(name) for name in (f"n{rank}.example" for rank in range(2000))}
    drawn = dice.choices(list(queries), cum_weights=weights, k=30_000)
    for name in drawn:
        server.begin(queries[name]).answer(None)
    truth = Counter(drawn)
    top = server.get_top_domains(10)
    assert [it.domain for it in top] == [name for name, _ in truth.most_common(10)]
    assert all(it.count - it.error <= truth[it.domain] <= it.count for it in server.get_top_domains(200))
    assert 0 < server.get_top_domains_error() <= 30_000 / 200
    assert len(server.get_top_domains(10**6)) == 200
