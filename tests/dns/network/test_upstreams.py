"""Upstreams that are dead, slow, lying or odd: a right answer or a failure in time, never a wrong answer."""

import asyncio
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from proxywatch.clock import SystemClock
from proxywatch.dns.message import Question, addresses
from proxywatch.dns.settings import Settings, UpstreamUrl, Via
from proxywatch.dns.upstream import assemble
from proxywatch.dns.upstream.base import UpstreamError
from proxywatch.dns.upstream.pool import Pool
from proxywatch.quantity import Duration
from support.dns_messages import asked
from support.dns_pki import Pki, make_pki
from support.dns_upstreams import FakeUpstream, Message, address, answer, fake_upstream, packets

SHORT: dict[str, Any] = {"timeout": Duration(0.1), "deadline": Duration(0.2)}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@asynccontextmanager
async def pool(*urls: str, **settings: Any) -> AsyncIterator[Pool]:
    """The resolvers of these settings."""
    made = Settings(
        upstream=tuple(map(UpstreamUrl.parse, urls)),
        **{"via": Via("direct"), "timeout": Duration(2), "deadline": Duration(4)} | settings,  # type: ignore[arg-type]
    )
    async with TaskGroup() as group:
        resolvers = assemble.pool(made, group, SystemClock(), Random(1))
        yield resolvers
        await resolvers.close()


async def failure(resolvers: Pool, question: Question | None = None) -> UpstreamError:
    with pytest.raises(UpstreamError) as raised:
        await resolvers.ask(question or asked())
    return raised.value


def other(query: Message) -> Message:
    """An answer to another question."""
    return address(dns.message.make_query("other.test", "A", id=query.id))


def wrong_id(query: Message) -> Message:
    response = address(query)
    response.id ^= 1
    return response


def not_a_response(query: Message) -> Message:
    response = address(query)
    response.flags &= ~dns.flags.QR
    return response


def lower_case(query: Message) -> Message:
    return address(dns.message.make_query(str(query.question[0].name).swapcase(), "A", id=query.id))


def poisoned(query: Message) -> Message:
    return answer(query, "bank.test. 60 IN A 203.0.113.66")


LIES: dict[str, Callable[[Message], bytes]] = {
    "three bytes": lambda _: b"abc",
    "wrong id": lambda query: wrong_id(query).to_wire(),
    "another question": lambda query: other(query).to_wire(),
    "a query": lambda query: not_a_response(query).to_wire(),
    "another spelling": lambda query: lower_case(query).to_wire(),
    "an answer for another name": lambda query: poisoned(query).to_wire(),
    "cut short": lambda query: address(query).to_wire()[:-12],
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_by_udp_is_waited_past(lie: str) -> None:
    """CVE-2023-29483: one forged or damaged packet must not end the wait for the true one."""
    upstream = FakeUpstream(udp=lambda query: [LIES[lie](query), *packets(query)])
    async with fake_upstream(upstream), pool(upstream.url) as resolvers:
        assert addresses(await resolvers.ask(asked())) == ["192.0.2.1"]
        assert resolvers.rows(0)[0][4] == 1


async def test_all_lies_together_are_counted_and_truncation_is_still_heard() -> None:
    def lying(query: Message) -> list[bytes]:
        truncated = dns.message.make_response(query)
        truncated.flags |= dns.flags.TC
        return [*(lie(query) for lie in LIES.values()), truncated.to_wire()]

    upstream = FakeUpstream(udp=lying)
    async with fake_upstream(upstream), pool(upstream.url) as resolvers:
        assert addresses(await resolvers.ask(asked())) == ["192.0.2.1"]
        assert resolvers.rows(0)[0][4] == len(LIES)
    assert [transport for transport, _ in upstream.asked] == ["udp", "tcp"]


async def test_what_comes_from_elsewhere_is_not_heard() -> None:
    """The right id, question and spelling, sent by another socket before the true answer."""

    def forged(query: Message) -> list[bytes]:
        return [answer(query, f"{query.question[0].name} 60 IN A 203.0.113.66").to_wire()]

    upstream = FakeUpstream(elsewhere=forged)
    async with fake_upstream(upstream), pool(upstream.url) as resolvers:
        assert addresses(await resolvers.ask(asked())) == ["192.0.2.1"]


@pytest.mark.parametrize("lie", [each for each in LIES if each != "another spelling"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_nothing_but_lies_is_a_failure_in_time(lie: str, transport: str) -> None:
    def lying(query: Message) -> list[bytes]:
        return [LIES[lie](query)]

    upstream = FakeUpstream(udp=lying, tcp=lying)
    async with fake_upstream(upstream):
        began = asyncio.get_running_loop().time()
        async with pool(f"{transport}://127.0.0.1:{upstream.port}", **SHORT) as resolvers:
            assert (await failure(resolvers)).reason in {"timeout", "malformed", "closed"}
        assert asyncio.get_running_loop().time() - began < 5


async def test_a_flood_of_forged_packets_leads_to_tcp() -> None:
    upstream = FakeUpstream(udp=lambda query: [wrong_id(query).to_wire()] * 250)
    async with (
        fake_upstream(upstream),
        pool(upstream.url, timeout=Duration(5), deadline=Duration(9)) as resolvers,
    ):
        assert addresses(await resolvers.ask(asked())) == ["192.0.2.1"]
    assert upstream.asked[-1][0] == "tcp"


async def test_names_are_spelled_by_chance_and_ports_and_ids_differ() -> None:
    upstream = FakeUpstream()
    name = "abcdefghijklmnop.test"
    async with fake_upstream(upstream), pool(upstream.url) as resolvers:
        for _ in range(20):
            await resolvers.ask(asked(name))
    assert len({query.id for _, query in upstream.asked}) > 15
    assert len({str(query.question[0].name) for _, query in upstream.asked}) > 15


async def test_the_next_is_asked_where_one_is_dead_slow_or_refuses() -> None:
    dead = FakeUpstream()
    async with fake_upstream(dead):
        pass
    slow = FakeUpstream(delay=5)
    refusing = FakeUpstream(udp=lambda query: [answer(query, rcode=dns.rcode.REFUSED).to_wire()])
    failing = FakeUpstream(udp=lambda query: [answer(query, rcode=dns.rcode.SERVFAIL).to_wire()])
    good = FakeUpstream()
    async with (
        fake_upstream(slow), fake_upstream(refusing), fake_upstream(failing), fake_upstream(good),
        pool(dead.url, slow.url, refusing.url, failing.url, good.url, timeout=Duration(0.3)) as resolvers,
    ):  # fmt: skip
        for _ in range(4):
            assert addresses(await resolvers.ask(asked())) == ["192.0.2.1"]
        rows = {name: (answers, failures) for name, _, answers, failures, _ in resolvers.rows(0)}
    assert rows[good.url] == (4, 0)
    assert rows[failing.url] == (4, 0), "SERVFAIL may be the zone's fault"
    assert rows[dead.url] == rows[slow.url] == rows[refusing.url] == (0, 3), "then they are paused"


async def test_one_resolver_alone_is_asked_again() -> None:
    lost: list[Message] = []

    def once(query: Message) -> list[bytes]:
        lost.append(query)
        return packets(query) if len(lost) > 1 else []

    upstream = FakeUpstream(udp=once)
    async with fake_upstream(upstream), pool(upstream.url, timeout=Duration(0.3)) as resolvers:
        assert addresses(await resolvers.ask(asked())) == ["192.0.2.1"]


async def test_what_all_of_them_refuse_is_a_failure() -> None:
    refusing = FakeUpstream(udp=lambda query: [answer(query, rcode=dns.rcode.REFUSED).to_wire()])
    async with fake_upstream(refusing), pool(refusing.url) as resolvers:
        assert (await failure(resolvers)).reason == "rcode"
    assert len(refusing.asked) == 1


async def test_an_answer_that_is_cut_short_by_tcp_is_none() -> None:
    def cut(query: Message) -> list[bytes]:
        response = address(query)
        response.flags |= dns.flags.TC
        return [response.to_wire()]

    upstream = FakeUpstream(udp=cut, tcp=cut)
    async with fake_upstream(upstream), pool(upstream.url) as resolvers:
        assert (await failure(resolvers)).reason == "malformed"


async def test_a_resolver_that_fails_is_logged_once_and_again_when_it_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "proxywatch.dns")
    upstream = FakeUpstream(udp=lambda query: [answer(query, rcode=dns.rcode.REFUSED).to_wire()])
    async with fake_upstream(upstream), pool(upstream.url) as resolvers:
        for _ in range(5):
            await failure(resolvers)
        upstream.udp = packets
        await resolvers.ask(asked())
    assert [record.message for record in caplog.records] == ["resolver fails", "resolver answers again"]


async def test_queries_by_tcp_share_a_connection_and_answers_come_in_any_order() -> None:
    held: list[Message] = []

    def reordered(query: Message) -> list[bytes]:
        held.append(query)
        if len(held) < 8:
            return []
        return [address(each).to_wire() for each in reversed(held)]

    upstream = FakeUpstream(tcp=reordered, chopped=True)
    async with (
        fake_upstream(upstream),
        pool(f"tcp://127.0.0.1:{upstream.port}") as resolvers,
        TaskGroup() as group,
    ):
        tasks = [group.create_task(resolvers.ask(asked(f"n{number}.test"))) for number in range(8)]
    for number, task in enumerate(tasks):
        assert task.result().records[0].owner == asked(f"n{number}.test").name
    assert upstream.connections == 1


async def test_a_connection_that_was_closed_meanwhile_is_opened_anew() -> None:
    upstream = FakeUpstream()
    async with fake_upstream(upstream):
        port = upstream.port
        async with pool(f"tcp://127.0.0.1:{port}") as resolvers:
            await resolvers.ask(asked())
            stream = next(iter(resolvers._upstreams.values()))
            stream._connection._writer.transport.abort()  # type: ignore[attr-defined]
            await resolvers.ask(asked())
            assert resolvers.rows(0)[0][2:4] == (2, 0)
    assert upstream.connections == 2


async def test_a_late_answer_by_tcp_is_nobodys_and_ends_nothing() -> None:
    upstream = FakeUpstream()
    slow: list[Message] = []

    def first_late(query: Message) -> list[bytes]:
        if "slow" in str(query.question[0].name):
            slow.append(query)
            return []
        late = slow if "second" in str(query.question[0].name) else []
        return [*(address(each).to_wire() for each in late), *packets(query)]

    upstream.tcp = first_late
    async with fake_upstream(upstream), pool(f"tcp://127.0.0.1:{upstream.port}") as resolvers:
        stream = next(iter(resolvers._upstreams.values()))
        async with TaskGroup() as group:
            task = group.create_task(stream.ask(asked("slow.test")))
            await asyncio.sleep(0.05)
            await stream.ask(asked("first.test"))
            task.cancel()
        assert addresses(await stream.ask(asked("second.test"))) == ["192.0.2.1"]
    assert upstream.connections == 1


@asynccontextmanager
async def dot(pki: Pki) -> AsyncIterator[int]:
    """A resolver over TLS."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while size := await reader.readexactly(2):
                query = dns.message.from_wire(await reader.readexactly(int.from_bytes(size, "big")))
                wire = address(query).to_wire()
                writer.write(len(wire).to_bytes(2, "big") + wire)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=pki.server())
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(0.02)


async def test_tls_with_a_certificate_of_the_right_name(pki: Pki) -> None:
    async with dot(pki) as port:
        for name in ("", "#dns.test"):
            async with pool(f"tls://127.0.0.1:{port}{name}", ca_file=str(pki.certificate)) as resolvers:
                for _ in range(3):
                    assert addresses(await resolvers.ask(asked())) == ["192.0.2.1"]


@pytest.mark.parametrize(("name", "ca"), [("#other.test", True), ("", False)])
async def test_tls_with_another_certificate_is_a_failure(pki: Pki, name: str, *, ca: bool) -> None:
    async with dot(pki) as port:
        settings = {"ca_file": str(pki.certificate)} if ca else {}
        async with pool(f"tls://127.0.0.1:{port}{name}", **settings) as resolvers:
            error = await failure(resolvers)
            assert error.reason == "tls"
            assert "certificate" in str(error)


async def test_tls_with_what_speaks_none_is_a_failure() -> None:
    upstream = FakeUpstream()
    async with fake_upstream(upstream), pool(f"tls://127.0.0.1:{upstream.port}", **SHORT) as resolvers:
        assert (await failure(resolvers)).reason in {"tls", "timeout"}


async def test_upstreams_by_name_are_found_by_the_bootstrap_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def system(*_: object, **__: object) -> None:
        raise AssertionError("the system's resolver was asked")

    monkeypatch.setattr("socket.getaddrinfo", system)
    upstream = FakeUpstream()
    bootstrap = FakeUpstream(
        udp=lambda query: [
            answer(query, f"{query.question[0].name} 60 IN A 127.0.0.1").to_wire()
            if query.question[0].rdtype == 1
            else answer(query).to_wire()
        ]
    )
    async with fake_upstream(upstream), fake_upstream(bootstrap):
        url = f"udp://dns.test:{upstream.port}"
        async with pool(url, bootstrap=(UpstreamUrl.parse(bootstrap.url),)) as resolvers:
            for _ in range(3):
                assert addresses(await resolvers.ask(asked())) == ["192.0.2.1"]
    assert bootstrap.names() == ["dns.test.", "dns.test."], "A and AAAA, once"
    assert set(upstream.names()) == {"a.test."}


async def test_a_name_that_the_bootstrap_does_not_know_is_a_failure() -> None:
    bootstrap = FakeUpstream(udp=lambda query: [answer(query, rcode=dns.rcode.NXDOMAIN).to_wire()])
    bootstrap.port = 0
    async with fake_upstream(bootstrap):
        given = {"bootstrap": (UpstreamUrl.parse(bootstrap.url),)}
        async with pool("udp://dns.test", **given) as resolvers:
            assert (await failure(resolvers)).reason == "name"


async def test_a_certificate_file_is_read_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup):
        async with pool("tls://127.0.0.1:1", ca_file=str(tmp_path / "none")):
            pass
