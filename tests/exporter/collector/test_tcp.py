"""The collector of TCP connections, on a kernel that behaves as told and on the real one."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from proxywatch.clock import SystemClock
from proxywatch.errors import NoData, SourceError
from proxywatch.exporter.collector import tcp
from proxywatch.exporter.collector.tcp import Settings, TcpCollector
from proxywatch.metrics.registry import Registry
from proxywatch.parse import inet_diag
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.proxy import Proxy
from proxywatch.source import sock_diag
from proxywatch.source.sock_diag import Kernel
from support.fakes import FakeClock
from support.metrics import samples
from support.tcp_rows import ESTABLISHED, LISTEN, info, row

GOLDEN = Path(__file__).parents[2] / "golden" / "tcp.text"
LISTENER = row(("10.0.0.1", 1080), state=LISTEN, inode=7)
SNMP = b"Tcp: ActiveOpens PassiveOpens AttemptFails\nTcp: %d 0 0\n"


class Fake:
    """A kernel: what listens, what lives, what it has reported, what it dropped."""

    def __init__(self) -> None:
        self.listeners = [LISTENER]
        self.living: list[bytes] = []
        self.reports: list[bytes] = []
        self.lost: int | None = 0
        self.opened = 0
        self.refused: SourceError | None = None
        self.shared = False
        self.silent = False
        self.asked: list[bytes] = []
        self.buffer, self.overruns = 4 << 20, 0
        self.closed = False

    def kernel(self) -> Kernel:
        return Kernel(
            listen=self.listen,
            dump=self.answers,
            snmp=lambda: SNMP % self.opened,
            is_local=lambda _: False,
            is_shared=lambda: self.shared,
            try_out=self.try_out,
        )

    def listen(self) -> "Fake":
        if self.refused:
            raise self.refused
        return self

    def answers(self, request: bytes) -> Iterator[list[bytes]]:
        yield from self.dump(request)

    def dump(self, request: bytes) -> Iterator[list[bytes]]:
        self.asked.append(request)
        if request[0] == inet_diag.IPV4:
            yield self.listeners if request[4:8] == (1 << 10).to_bytes(4, "little") else self.living

    def try_out(self) -> bool:
        if not self.silent:
            self.reports.append(row(("127.0.0.1", 40000), ("127.0.0.1", 1), cookie=99, info=info()))
        return True

    def read(self, most: int) -> list[bytes]:
        taken, self.reports = self.reports[:most], self.reports[most:]
        return taken

    def dropped(self) -> int | None:
        return self.lost

    async def wait(self, _: float) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self.closed = True


def client(cookie: int, counters: bytes, **more: int) -> bytes:
    return row(("10.0.0.1", 1080), ("10.0.0.9", 4000 + cookie), cookie=cookie, info=counters, **more)


def upstream(cookie: int, counters: bytes, **more: int) -> bytes:
    return row(("10.0.0.1", 5000 + cookie), ("203.0.113.5", 443), cookie=cookie, info=counters, **more)


def made(fake: Fake, clock: FakeClock | None = None, **settings: Any) -> TcpCollector:
    return TcpCollector(Settings(**settings), 1080, fake.kernel(), clock or FakeClock(), OwnTraffic())


async def test_the_exposition() -> None:
    """Every series, with its buckets, as it is scraped."""
    fake, clock = Fake(), FakeClock()
    collector = made(fake, clock)
    await collector.update()
    fake.living = [client(1, info(sent=1000, fin=False), state=ESTABLISHED, inode=5)]
    await clock.advance(1)
    await collector.update()
    fake.living = []
    fake.lost = 3
    fake.reports = [
        client(1, info(sent=200_000, received=70, segments=140, retransmitted=4, rate=800_000)),
        client(2, info(sent=50, received=9, fin=False, round_trip=30_000, minimum=28_000)),
        upstream(3, info(sent=60, received=200_000, dialled=True, segments_received=150, out_of_order=12)),
        upstream(4, info(answered=False, dialled=True)),
    ]
    await clock.advance(0.5)
    await collector.update()
    registry = Registry({"proxy_name": "golden-crab"})
    registry.register(collector)
    exposed = generate_latest(registry)
    if os.environ.get("PROXYWATCH_GOLDEN") == "write":
        GOLDEN.write_bytes(exposed)
    assert exposed == GOLDEN.read_bytes()


async def test_nothing_before_the_proxy_listens() -> None:
    """No figure is made up; both sides are there, at 0, from then on."""
    fake, clock = Fake(), FakeClock()
    fake.listeners = []
    collector = made(fake, clock)
    with pytest.raises(NoData, match="nothing listens on port 1080"):
        await collector.update()
    assert not [name for name in samples(collector) if "missed" not in name]
    assert (collector.ended(), collector.mean_duration(), collector.transferred()) == (None, None, None)
    [finding] = await collector.examine()
    assert (finding.level, "tcp.port" in finding.fix) == ("hint", True)
    fake.listeners = [LISTENER]
    await clock.advance(1)
    await collector.update()
    assert samples(collector)['proxy_tcp_connections_closed_total{end="reset",side="upstream"}'] == 0
    fake.listeners = []  # a restart of the proxy hides nothing
    await clock.advance(200)
    await collector.update()
    assert collector.ended() == (0, 0)


async def test_a_kernel_that_refuses() -> None:
    """Everything is absent, it is asked again after a while, and `check` has one hint."""
    fake, clock = Fake(), FakeClock()
    fake.refused = SourceError("netlink: Operation not permitted", temporary=False)
    collector = made(fake, clock)
    with pytest.raises(SourceError):
        await collector.update()
    assert samples(collector) == {}
    [finding] = await collector.examine()
    assert (finding.level, "AF_NETLINK" in finding.fix) == ("hint", True)
    async with asyncio.TaskGroup() as group:
        due = group.create_task(collector.due())
        await clock.advance(4)
        assert not due.done()
        await clock.advance(2)
    fake.refused = None
    await collector.update()


async def test_a_kernel_that_reports_nothing() -> None:
    """As one in user space: a connection of our own is not reported."""
    fake, clock = Fake(), FakeClock()
    fake.silent = True
    collector = made(fake, clock)

    async def wait(seconds: float) -> None:
        await clock.sleep_until(clock.monotonic() + seconds)

    fake.wait = wait  # type: ignore[method-assign, assignment]
    async with asyncio.TaskGroup() as group:
        examining = group.create_task(collector.examine())
        await clock.advance(2)
    [finding] = examining.result()
    assert (finding.level, "reports no connection" in finding.text) == ("hint", True)


async def test_what_check_says() -> None:
    """How many there are; on a host, what cannot be told; how many reports were lost."""
    fake = Fake()
    fake.living = [client(1, info(fin=False), state=ESTABLISHED, inode=5)]
    [finding] = await made(fake).examine()
    assert finding.level == "ok"
    assert "port 1080 has 1 of clients, and there are 0 to destinations" in finding.text
    fake.shared, fake.lost = True, 5
    _, shared, lost = await made(fake).examine()
    assert (shared.level, "host" in shared.text) == ("hint", True)
    assert "5 reports were lost" in lost.text


@pytest.mark.parametrize(
    ("shared", "asked", "scope"),
    [(False, "auto", "all"), (True, "auto", "owner"), (True, "all", "all"), (False, "off", "off")],
)
async def test_whose_connections_are_the_proxys(shared: bool, asked: str, scope: str) -> None:  # noqa: FBT001
    """As the settings say, else by whether the namespace is a host's; `off` asks for one port alone."""
    fake = Fake()
    fake.shared = shared
    collector = made(fake, upstream=asked)
    await collector.update()
    report = collector.status().report
    assert report is not None
    assert report.upstream == scope
    assert ("upstream" in report.sides) == (scope != "off")
    ports = {request[8:10] for request in fake.asked[2:]}
    assert ports == ({(1080).to_bytes(2, "big")} if scope == "off" else {b"\0\0"})


async def test_losses_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """As the socket counts them, else by how often it said so; one line a minute at most."""
    fake, clock = Fake(), FakeClock()
    collector = made(fake, clock)
    await collector.update()
    for lost in (10, 25):
        fake.lost = lost
        await clock.advance(1)
        await collector.update()
    assert samples(collector)['proxy_tcp_missed_total{cause="buffer"}'] == 25
    assert [record.msg for record in caplog.records] == ["reports of ended connections were lost"]
    fake.lost, fake.overruns = None, 26
    await clock.advance(61)
    await collector.update()
    assert samples(collector)['proxy_tcp_missed_total{cause="buffer"}'] == 26
    assert len(caplog.records) == 2


async def test_what_was_never_reported() -> None:
    """The kernel opened more than ended or live, at each of three looks."""
    fake, clock = Fake(), FakeClock()
    collector = made(fake, clock)
    await collector.update()
    fake.opened = 4
    fake.living = [client(1, info(fin=False), state=ESTABLISHED, inode=5)]
    fake.reports = [client(2, info())]
    for _ in range(4):
        await clock.advance(1)
        await collector.update()
    assert samples(collector)['proxy_tcp_missed_total{cause="unreported"}'] == 2


async def test_a_look_that_takes_long_is_put_off() -> None:
    """It takes no more than a fiftieth of the time, and comes every quarter of a minute at least."""
    fake, clock = Fake(), FakeClock()
    collector = made(fake, clock, upstream="off")
    dump = fake.dump
    duration = 0.025

    def slow(request: bytes) -> Iterator[list[bytes]]:
        clock._monotonic += duration
        yield from dump(request)

    fake.dump = slow  # type: ignore[method-assign]
    await collector.update()
    looks = len(fake.asked)
    await clock.advance(4)
    await collector.update()
    assert len(fake.asked) == looks
    await clock.advance(1.1)
    await collector.update()
    assert len(fake.asked) == 2 * looks
    duration = 10.0
    await clock.advance(6)
    await collector.update()
    await clock.advance(16)
    await collector.update()
    assert len(fake.asked) == 4 * looks


async def test_a_look_that_fails_ends_nothing() -> None:
    """The connections that it did not find live on."""
    fake, clock = Fake(), FakeClock()
    collector = made(fake, clock)
    fake.living = [client(1, info(fin=False), state=ESTABLISHED, inode=5)]
    await collector.update()

    def broken(request: bytes) -> Iterator[list[bytes]]:
        yield [request[:0]]
        raise SourceError("netlink: cut off")

    whole, fake.dump = fake.dump, broken  # type: ignore[method-assign]
    for _ in range(3):
        await clock.advance(1)
        with pytest.raises(SourceError):
            await collector.update()
    fake.dump = whole  # type: ignore[method-assign]
    await clock.advance(1)
    await collector.update()
    report = collector.status().report
    assert report is not None
    assert report.sides["client"].open == 1


async def test_a_burst_is_read_in_turns() -> None:
    """An update is bounded; the next one is due at once, and nothing is lost."""
    fake, clock = Fake(), FakeClock()
    collector = made(fake, clock)
    await collector.update()
    fake.reports = [client(n, info(sent=1)) for n in range(2000)]
    read = fake.read

    def slow(most: int) -> list[bytes]:
        clock._monotonic += 0.1
        return read(most)

    fake.read = slow  # type: ignore[method-assign]
    updates = 0
    while fake.reports:
        await collector.update()
        updates += 1
        if fake.reports:
            await asyncio.wait_for(collector.due(), 1)
    assert updates > 2
    await collector.update()
    ended = collector.ended()
    assert ended == (2000, 2000)


async def test_the_end() -> None:
    """Nobody listens any more."""
    fake = Fake()
    collector = made(fake)
    await collector.update()
    await collector.close()
    await collector.close()
    assert fake.closed


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("socks5h://127.0.0.1:1080", 1080),
        ("socks5h://127.0.0.1", 1080),
        ("http://h:8888", 8888),
        ("http://h", 80),
    ],
)
def test_the_port(url: str, port: int) -> None:
    """The proxy's URL has it, unless the settings say another."""
    assert tcp.build(Settings(), Proxy(url=url), FakeClock(), OwnTraffic()).status().port == port
    assert tcp.build(Settings(port=9), Proxy(url=url), FakeClock(), OwnTraffic()).status().port == 9


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_real_kernel(host: str) -> None:
    """A connection to a real port, of either family: what it moved, and that it ended in order."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
        collector = TcpCollector(
            Settings(upstream="off"), port, sock_diag.KERNEL, SystemClock(), OwnTraffic()
        )
        await collector.update()
        with socket.create_connection((host, port)) as one, listener.accept()[0] as served:
            one.sendall(b"x" * 3000)
            served.sendall(b"y" * 40_000)
            while len(one.recv(40_000, socket.MSG_PEEK | socket.MSG_WAITALL)) < 40_000:
                pass
            served.recv(3000, socket.MSG_WAITALL)
            one.recv(40_000, socket.MSG_WAITALL)
        await until(collector, lambda: (collector.ended() or (0,))[0] == 1)
        report = collector.status().report
        await collector.close()
    assert report is not None
    side = report.sides["client"]
    assert (side.closed["fin"], side.sent_bytes, side.received_bytes - 3000 in (0, 1)) == (1, 40_000, True)
    assert side.mean_round_trip_seconds


async def until(collector: TcpCollector, reached: Callable[[], bool]) -> None:
    """Update until it is so, for ten seconds at most."""
    async with asyncio.timeout(10):
        while not reached():
            await collector.due()
            await collector.update()
