"""What clients are told, by a resolver whose upstreams are functions."""

import asyncio
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from proxywatch.dns.access import Access
from proxywatch.dns.answer import Answer, Transport
from proxywatch.dns.cache import Cache, Terms
from proxywatch.dns.message import NXDOMAIN, Question, Response
from proxywatch.dns.names import Blocked, to_text, to_wire
from proxywatch.dns.rate import InFlight, Rate
from proxywatch.dns.resolver import Bounds, Resolver
from proxywatch.dns.upstream.base import UpstreamError
from support.dns_messages import query, response, soa, ttls
from support.fakes import FakeClock

Ask = Callable[[Question], Awaitable[Response]]


_TERMS = Terms()


class Upstreams:
    """Answers 192.0.2.1 with RRSIG for those who want it, unless a test says otherwise."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.error: UpstreamError | None = None
        self.gate: asyncio.Event | None = None
        self.records: tuple[str, ...] = ("{} 60 IN A 192.0.2.1",)

    async def ask(self, question: Question) -> Response:
        self.asked.append(question)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        name = to_text(question.name)
        records = [each.format(name) for each in self.records]
        if question.do:
            records.append(f"{name} 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 test. AAAA")
        return response(question, *records, flags=0 if question.cd else dns.flags.AD)


@asynccontextmanager
async def resolver(
    upstreams: Upstreams, clock: FakeClock, terms: Terms = _TERMS, *, rate: float = 0, waiting: int = 100,
    stale_after: float = 0.1,
) -> AsyncIterator[Resolver]:  # fmt: skip
    bounds = Bounds(Access([ip_network("10.0.0.0/8")]), Rate(rate), InFlight(waiting, waiting), waiting)
    async with TaskGroup() as group:
        made = Resolver(upstreams.ask, Cache(terms), bounds, group, clock, stale_after=stale_after)
        yield made
        if upstreams.gate is not None:
            upstreams.gate.set()
    counts = made.counts
    assert counts.queries == counts.hits + counts.misses + counts.uncacheable
    assert (made.flights, bounds.in_flight.total) == (0, 0)


async def told(
    made: Resolver, wire: bytes, transport: Transport = "udp", client: str = "127.0.0.1"
) -> tuple[Answer, dns.message.Message]:
    answer = await made.answer(wire, transport, client)
    return answer, dns.message.from_wire(answer.wire)


async def test_the_second_answer_comes_from_the_cache_in_the_spelling_of_its_asker() -> None:
    upstreams, clock = Upstreams(), FakeClock()
    async with resolver(upstreams, clock) as made:
        first, _ = await told(made, query("a.test"))
        await clock.advance(10)
        second, read = await told(made, query("A.TesT", ident=99))
    assert (first.cached, second.cached) == ("miss", "hit")
    assert (read.id, str(read.question[0].name), str(read.answer[0].name)) == (99, "A.TesT.", "A.TesT.")
    assert ttls(second.wire) == [50]
    assert len(upstreams.asked) == 1
    assert read.flags & dns.flags.RA
    assert not read.flags & dns.flags.AA


async def test_who_asked_before_makes_no_difference() -> None:
    """OPT in, OPT out; signatures for those who want them; unvalidated answers only for those who ask so."""
    cells = [
        {"edns": edns, "do": do, "flags": cd | ad}
        for edns, do in ((None, False), (1232, False), (1232, True))
        for cd in (0, int(dns.flags.CD))
        for ad in (0, int(dns.flags.AD))
    ]
    cold: list[bytes] = []
    for cell in cells:
        async with resolver(Upstreams(), FakeClock()) as made:
            cold.append((await told(made, query(**cell)))[0].wire)  # type: ignore[arg-type]
    for order in (cells, cells[::-1]):
        async with resolver(Upstreams(), FakeClock()) as made:
            for _ in range(2):
                warm = {id(cell): (await told(made, query(**cell)))[0].wire for cell in order}  # type: ignore[arg-type]
                assert [warm[id(cell)] for cell in cells] == cold
    for cell, wire in zip(cells, cold, strict=True):
        read = dns.message.from_wire(wire)
        assert (read.edns == 0) == (cell["edns"] is not None)
        assert bool(read.ednsflags & dns.flags.DO) == cell["do"]
        assert len(read.answer) == (2 if cell["do"] else 1)
        assert bool(read.flags & dns.flags.CD) == bool(int(cell["flags"] or 0) & dns.flags.CD)
        if not (cell["do"] or int(cell["flags"] or 0) & dns.flags.AD):
            assert not read.flags & dns.flags.AD


async def test_those_who_ask_the_same_at_once_are_one_question() -> None:
    upstreams = Upstreams()
    upstreams.gate = asyncio.Event()
    async with resolver(upstreams, FakeClock()) as made, TaskGroup() as clients:
        tasks = [
            clients.create_task(made.answer(query(ident=number), "udp", "127.0.0.1")) for number in range(50)
        ]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.sleep(0.01)
        upstreams.gate.set()
    answers = [task.result() for task in tasks[1:]]
    assert [dns.message.from_wire(each.wire).id for each in answers] == list(range(1, 50))
    assert len(upstreams.asked) == 1
    assert made.counts.joined == 49


async def test_a_failure_is_remembered_for_seconds_and_hides_no_answer() -> None:
    """SERVFAIL with stale answers off, then the new answer once the failure is forgotten."""
    upstreams, clock = Upstreams(), FakeClock()
    async with resolver(upstreams, clock, Terms(least=3600)) as made:
        upstreams.error = UpstreamError("timeout", "dead")
        assert (await told(made, query()))[1].rcode() == dns.rcode.SERVFAIL
        assert (await told(made, query()))[0].cached == "hit"
        assert len(upstreams.asked) == 1
        upstreams.error = None
        await clock.advance(5)
        assert (await told(made, query()))[1].rcode() == dns.rcode.NOERROR


async def test_a_stale_answer_bridges_a_failure() -> None:
    upstreams, clock = Upstreams(), FakeClock()
    async with resolver(upstreams, clock, Terms(stale=3600)) as made:
        await told(made, query())
        await clock.advance(61)
        upstreams.error = UpstreamError("timeout", "dead")
        for expected in ("miss", "hit"):
            answer, read = await told(made, query(edns=1232))
            assert (answer.cached, ttls(answer.wire), read.rcode()) == (expected, [30], dns.rcode.NOERROR)
            assert read.options[0].to_text().startswith("EDE 3")
        upstreams.error = None
        await clock.advance(5)
        answer, _ = await told(made, query())
        assert (answer.cached, ttls(answer.wire)) == ("miss", [60])
        assert made.counts.stale == 2


async def test_a_stale_answer_is_given_while_upstreams_are_slow_and_the_new_one_is_kept() -> None:
    upstreams, clock = Upstreams(), FakeClock()
    async with resolver(upstreams, clock, Terms(stale=3600)) as made:
        await told(made, query())
        await clock.advance(61)
        upstreams.gate = asyncio.Event()
        answer, _ = await told(made, query())
        assert (answer.cached, ttls(answer.wire)) == ("miss", [30])
        upstreams.gate.set()
        await asyncio.sleep(0.01)
        answer, _ = await told(made, query())
        assert (answer.cached, ttls(answer.wire)) == ("hit", [60])


async def test_our_own_lack_of_files_is_not_remembered() -> None:
    upstreams = Upstreams()
    upstreams.error = UpstreamError("local", "too many open files")
    async with resolver(upstreams, FakeClock()) as made:
        assert (await told(made, query()))[1].rcode() == dns.rcode.SERVFAIL
        upstreams.error = None
        assert (await told(made, query()))[1].rcode() == dns.rcode.NOERROR


async def test_a_bug_below_costs_one_answer_and_no_daemon(caplog: pytest.LogCaptureFixture) -> None:
    upstreams = Upstreams()
    upstreams.records = ("nonsense",)
    async with resolver(upstreams, FakeClock()) as made:
        assert (await told(made, query()))[1].rcode() == dns.rcode.SERVFAIL
        upstreams.records = Upstreams().records
        assert (await told(made, query()))[1].rcode() == dns.rcode.NOERROR
    assert "a question to the upstreams failed" in caplog.text


async def test_what_waits_is_bounded() -> None:
    upstreams = Upstreams()
    upstreams.gate = asyncio.Event()
    async with resolver(upstreams, FakeClock(), waiting=3) as made, TaskGroup() as clients:
        tasks = [clients.create_task(made.answer(query(f"n{n}.test"), "udp", "127.0.0.1")) for n in range(5)]
        await asyncio.sleep(0.01)
        assert [task.done() for task in tasks] == [False, False, False, True, True]
        assert dns.message.from_wire(tasks[4].result().wire).rcode() == dns.rcode.SERVFAIL
        upstreams.gate.set()


async def test_questions_under_way_are_bounded_also_when_nobody_waits_for_them() -> None:
    """Those who got a stale answer have gone; what they asked for still goes on."""
    upstreams, clock = Upstreams(), FakeClock()
    async with resolver(upstreams, clock, Terms(stale=3600), waiting=3) as made:
        names = [f"n{number}.test" for number in range(5)]
        for name in names:
            await told(made, query(name))
        await clock.advance(61)
        upstreams.gate = asyncio.Event()
        for name in names:
            assert ttls((await told(made, query(name)))[0].wire) == [30]
        assert made.flights == 3
        assert len(upstreams.asked) == 5 + 3


async def test_absence_is_kept_too() -> None:
    upstreams = Upstreams()

    async def absent(question: Question) -> Response:
        upstreams.asked.append(question)
        return response(question, rcode=NXDOMAIN, authority=soa(300, 60))

    upstreams.ask = absent  # type: ignore[method-assign]
    async with resolver(upstreams, FakeClock()) as made:
        for expected in ("miss", "hit"):
            answer, read = await told(made, query(edns=4096))
            assert (answer.cached, read.rcode(), ttls(answer.wire)) == (expected, dns.rcode.NXDOMAIN, [60])


@pytest.mark.parametrize(
    ("wire", "client", "rcode"),
    [
        (query(), "8.8.8.8", dns.rcode.REFUSED),
        (query(flags=0x2000), "127.0.0.1", dns.rcode.NOTIMP),
        (query()[:-1], "127.0.0.1", dns.rcode.FORMERR),
        (query("test", "AXFR"), "127.0.0.1", dns.rcode.REFUSED),
        (query("ads.test"), "127.0.0.1", dns.rcode.NXDOMAIN),
        (query("a.ads.test"), "127.0.0.1", dns.rcode.NXDOMAIN),
        (query("x.onion"), "127.0.0.1", dns.rcode.NXDOMAIN),
        (query("localhost"), "127.0.0.1", dns.rcode.NOERROR),
    ],
    ids=[
        "a stranger",
        "another opcode",
        "malformed",
        "a transfer",
        "blocked",
        "below it",
        "onion",
        "localhost",
    ],
)
async def test_what_no_upstream_hears_of(wire: bytes, client: str, rcode: int) -> None:
    upstreams = Upstreams()
    async with resolver(upstreams, FakeClock()) as made:
        made.blocked = Blocked([to_wire("ads.test")])
        answer = await made.answer(wire, "tcp", client)
    assert answer.cached == "uncacheable"
    assert dns.message.from_wire(answer.wire, ignore_trailing=True).rcode() == rcode
    assert dns.message.from_wire(answer.wire).id == 7
    assert not upstreams.asked


@pytest.mark.parametrize("wire", [b"", b"\0" * 11, b"\0\1\x80" + b"\0" * 20])
async def test_what_gets_no_reply(wire: bytes) -> None:
    """Answering a response would be a loop."""
    async with resolver(Upstreams(), FakeClock()) as made:
        assert await made.answer(wire, "udp", "127.0.0.1") == Answer(b"", "uncacheable")


async def test_another_version_of_edns_is_told_ours() -> None:
    made_query = dns.message.make_query("a.test", "A", use_edns=0)
    made_query.use_edns(1)
    async with resolver(Upstreams(), FakeClock()) as made:
        _, read = await told(made, made_query.to_wire())
    assert (read.rcode(), read.edns) == (dns.rcode.BADVERS, 0)


async def test_a_client_over_its_rate_is_sent_to_tcp() -> None:
    async with resolver(Upstreams(), FakeClock(), rate=2) as made:
        replies = [(await made.answer(query(), "udp", "10.0.0.1")).wire for _ in range(4)]
        assert [bool(each) and bool(each[2] & 2) for each in replies] == [False, False, True, False]
        assert replies[3] == b""
        assert (await told(made, query(), "tcp", "10.0.0.1"))[1].answer
        assert (await told(made, query(), "udp", "127.0.0.1"))[1].answer


async def test_an_observer_that_fails_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, str, str]] = []

    class Observer:
        def answered(self, _: bytes, transport: str, client: str, answer: Answer, seconds: float) -> None:
            seen.append((transport, client, answer.cached))
            assert seconds == 0
            if len(seen) == 2:
                raise RuntimeError

    async with resolver(Upstreams(), FakeClock()) as made:
        made._observer = Observer()
        for _ in range(3):
            assert (await told(made, query(), "tcp"))[1].answer
    assert seen == [("tcp", "127.0.0.1", "miss"), ("tcp", "127.0.0.1", "hit")]
    assert "an observer of DNS queries failed" in caplog.text
