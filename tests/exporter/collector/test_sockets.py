"""The collector of the SOCKS port's sockets, on sources that behave as told and on the real ones."""

import asyncio
import socket

import pytest

from proxywatch.errors import NoData, SourceError
from proxywatch.exporter.collector import sockets
from proxywatch.exporter.collector.sockets import Read, Settings, SocketsCollector
from proxywatch.parse.tcp_socket import STANDINGS, Socket
from support.fakes import FakeClock
from support.metrics import labelled, samples

LISTENER = Socket("listen", 7, 0)
SERVED = [Socket("established", 8, 0), Socket("close_wait", 9, 0)]
OTHERS = [Socket("established", 0, 0), Socket("fin_wait2", 0, 0)]


def saying(*rows: Socket) -> Read:
    async def read(_: int) -> list[Socket]:
        return list(rows)

    return read


def refusing(*, temporary: bool) -> Read:
    async def read(_: int) -> list[Socket]:
        raise SourceError("netlink: Operation not permitted", temporary=temporary)

    return read


async def test_every_state_has_its_count() -> None:
    """What is served by TCP state, and apart from it what waits and what has ended."""
    collector = SocketsCollector(1080, {"source": saying(LISTENER, *SERVED, *OTHERS)}, FakeClock())
    await collector.update()
    assert collector.active() == 2
    assert collector.listening() == {7}
    counts = labelled(collector, "proxy_client_sockets")
    assert counts.keys() == set(STANDINGS)
    assert {state for state, count in counts.items() if count} == {
        "established",
        "close_wait",
        "backlog",
        "ended",
    }


async def test_nobody_listens() -> None:
    """Then nothing is known but that, and it is said how to fix it."""
    collector = SocketsCollector(1080, {"source": saying()}, FakeClock())
    with pytest.raises(NoData, match="nothing listens on port 1080"):
        await collector.update()
    assert (collector.active(), collector.listening(), samples(collector)) == (None, set(), {})
    [finding] = await collector.examine()
    assert (finding.level, "sockets.port" in finding.fix) == ("fault", True)


async def test_nobody_listens_and_sessions_go_on() -> None:
    """Those of a Dante that was stopped are served to their end."""
    collector = SocketsCollector(1080, {"source": saying(*SERVED)}, FakeClock())
    await collector.update()
    assert collector.active() == 2
    [finding] = await collector.examine()
    assert (finding.level, "2 sessions of an earlier Dante" in finding.text) == ("fault", True)


async def test_a_source_that_is_refused_is_replaced() -> None:
    """It is not asked again, and `check` says why the slower one is used."""
    collector = SocketsCollector(
        1080, {"inet_diag": refusing(temporary=False), "table": saying(LISTENER, *SERVED)}, FakeClock()
    )
    await collector.update()
    assert (collector.active(), collector.status().source) == (2, "table")
    findings = await collector.examine()
    assert [finding.level for finding in findings] == ["ok", "hint"]
    assert "not permitted" in findings[1].text


async def test_a_source_that_fails_for_once_is_kept() -> None:
    """The error is the runner's to judge, and the last count is gone."""
    collector = SocketsCollector(
        1080, {"inet_diag": refusing(temporary=True), "table": saying(LISTENER)}, FakeClock()
    )
    with pytest.raises(SourceError):
        await collector.update()
    assert (collector.active(), collector.listening()) == (None, None)


async def test_no_source_at_all() -> None:
    """The last refusal is what is said."""
    collector = SocketsCollector(1080, {"inet_diag": refusing(temporary=False)}, FakeClock())
    with pytest.raises(SourceError, match="not permitted"):
        await collector.update()
    [finding] = await collector.examine()
    assert finding.level == "fault"


@pytest.mark.parametrize(("later", "level"), [(SERVED, "ok"), (OTHERS, "hint")])
async def test_only_who_waits_for_a_while_is_told_to_wait(later: list[Socket], level: str) -> None:
    """The probe of the same check may have connected just now."""
    looks = [[LISTENER, *OTHERS], [LISTENER, *later]]

    async def read(_: int) -> list[Socket]:
        return looks.pop(0)

    clock = FakeClock()
    async with asyncio.TaskGroup() as group:
        examining = group.create_task(SocketsCollector(1080, {"source": read}, clock).examine())
        await clock.advance(1)
    assert [finding.level for finding in examining.result()] == [level]


@pytest.mark.parametrize("read", [sockets.from_inet_diag, sockets.from_table])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_real_sources(read: Read, host: str) -> None:
    """Both see a listener of either family with its connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]),
        listener.accept()[0],
        socket.create_connection(listener.getsockname()[:2]),
    ):
        rows = await read(listener.getsockname()[1])
    assert sorted(row.standing for row in rows) == ["backlog", "established", "listen"]
    assert sum(row.served for row in rows) == 1


def test_the_settings_name_the_port() -> None:
    """The collector is built on it."""
    assert sockets.build(Settings(port=1090), FakeClock()).status().port == 1090
