"""The kernel's account of real proxies, beside the truth of a client and a target that count for themselves.

The proxy has a network namespace of its own; client and target are in another one, joined to it by a wire.
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxywatch.clock import SystemClock
from proxywatch.exporter.collector.tcp import Settings, TcpCollector
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.source import sock_diag
from proxywatch.tcp.report import Report
from proxywatch.tcp.totals import Totals
from testbed import proxies, socks
from testbed.danted import danted
from testbed.namespace import Namespace
from testbed.traffic import Truth
from testbed.wired import ADDRESSES, wired

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
]
TRAFFIC = Path(__file__).parents[2] / "testbed" / "traffic.py"
PORT, TARGET, SSHD = 1080, 7777, 2222
ORDERLY = {"client": 60, "target": 60}
STAGES = {"silent": 5, "negotiating": 5, "requesting": 5, "refused": 5}
Proxy = Callable[[Namespace, str, Path], AbstractContextManager[object]]


IPV6 = "{0} pass {{\n    from: ::/0 to: ::/0\n}}"


def dante(log: str, **more: Any) -> Proxy:
    def run(side: Namespace, host: str, directory: Path) -> AbstractContextManager[object]:
        rules = {"client_rules": IPV6.format("client"), "rules": IPV6.format("socks")} if ":" in host else {}
        options = {"log": log, "internal": host, "external": "wire"} | rules | more
        return danted(directory, port=PORT, prefix=side.prefix, **options)

    return run


def microsocks(side: Namespace, host: str, _: Path) -> AbstractContextManager[object]:
    return proxies.microsocks(side.prefix, host, PORT)


def tinyproxy(side: Namespace, host: str, directory: Path) -> AbstractContextManager[object]:
    return proxies.tinyproxy(side.prefix, host, PORT, directory)


def ssh_d(side: Namespace, host: str, directory: Path) -> AbstractContextManager[object]:
    return proxies.ssh_d(side.prefix, host, PORT, directory, SSHD)


PROXIES: dict[str, tuple[Proxy, str]] = {
    "dante, log: error": (dante("error"), "danted"),
    "dante without a log": (dante("", logoutput="/dev/null"), "danted"),
    "microsocks": (microsocks, "microsocks"),
    "tinyproxy": (tinyproxy, "tinyproxy"),
    "ssh -D": (ssh_d, "sshd"),
}


@dataclass(frozen=True)
class Bed:
    """The proxy's namespace, in which this thread is, and the one where client and target are."""

    proxy: Namespace
    outside: Namespace
    host: str
    target: str


@contextmanager
def running(name: str, directory: Path, version: int = 4) -> Iterator[Bed]:
    """The proxy, and a wire to it."""
    proxy, program = PROXIES[name]
    if missing := proxies.missing(program, "ss"):
        pytest.skip(f"{missing} is not installed")
    directory.chmod(0o755)
    host, target = ADDRESSES[version]
    with wired() as sides, sides.proxy.entered(), proxy(sides.proxy, host, directory):
        yield Bed(sides.proxy, sides.outside, host, target)


class Watched:
    """What the account said, and the truth."""

    def __init__(self, truth: Truth, collector: TcpCollector) -> None:
        self.truth = truth
        report = collector.status().report
        assert report is not None
        self.report: Report = report
        self.client: Totals = collector._account.connections.totals["client"]
        self.upstream: Totals = collector._account.connections.totals["upstream"]

    def sums(self) -> dict[str, int]:
        """Every count of the truth's."""
        counts = ("connections", "client_sent", "client_received", "target_sent", "target_received")
        return {name: sum(getattr(self.truth, name).values()) for name in counts}


async def watch(bed: Bed, scheme: str = "socks5", *, beside: bool = False, **plan: Any) -> Watched:
    """Make the traffic of a plan, and follow it until all is over; `beside`: in the proxy's own namespace."""
    collector = TcpCollector(Settings(upstream="all"), PORT, sock_diag.KERNEL, SystemClock(), OwnTraffic())
    done = asyncio.Event()

    async def follow(expected: int) -> None:
        while (ended := collector.ended()) is None or ended.connections < expected or not done.is_set():
            await collector.due()
            await collector.update()

    target = bed.host if beside else bed.target
    text = json.dumps({"proxy": (bed.host, PORT), "target": (target, TARGET), "scheme": scheme} | plan)
    side = bed.proxy if beside else bed.outside
    await collector.update()
    async with asyncio.TaskGroup() as group:
        process = await asyncio.create_subprocess_exec(
            *side.prefix, sys.executable, str(TRAFFIC), text, stdin=-1, stdout=-1
        )
        assert process.stdout
        assert await process.stdout.readline() == b"listening\n"
        await collector._look(collector._listen())  # the target's port is known before the first session
        group.create_task(follow(sum(plan["courses"].values())))
        async with asyncio.timeout(120):
            output, _ = await process.communicate(b"\n")
            truth = Truth(**json.loads(output))
            await asyncio.sleep(0.3)
            done.set()
    await collector.close()
    return Watched(truth, collector)


def scheme_of(name: str) -> str:
    return "http" if name == "tinyproxy" else "socks5"


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("dante, log: error", 4),
        ("microsocks", 6),
        *(
            pytest.param(name, version, marks=slow)
            for name in PROXIES
            for version in (4, 6)
            if (name, version) not in {("dante, log: error", 4), ("microsocks", 6)}
        ),
    ],
)
async def test_every_connection_and_every_byte(name: str, version: int, tmp_path: Path) -> None:
    """Connections equal; bytes as client and target saw them, handshakes included, to one a connection."""
    with running(name, tmp_path, version) as bed:
        it = await watch(bed, scheme_of(name), courses=ORDERLY)
    truth, count = it.sums(), sum(ORDERLY.values())
    assert (it.client.opened, it.client.closed["fin"]) == (count, count)
    assert it.client.sent == truth["client_received"]
    assert 0 <= it.client.received - truth["client_sent"] <= count
    assert it.report.missed == dict.fromkeys(it.report.missed, 0)
    if name == "ssh -D":  # sshd's connections are in the same namespace here, beside the one to it
        return
    assert (it.upstream.opened, it.upstream.closed["fin"]) == (count, count)
    assert it.upstream.sent == truth["target_received"]
    assert 0 <= it.upstream.received - truth["target_sent"] <= count


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "dante without a log" else slow) for name in PROXIES]
)
async def test_half_closed_reset_and_given_up(name: str, tmp_path: Path) -> None:
    """Every connection counts once, as it ended; what was lost of one that the proxy cleared is told."""
    courses = STAGES | {"half": 20, "client_reset": 20, "target_reset": 20}
    with running(name, tmp_path) as bed:
        it = await watch(bed, scheme_of(name), courses=courses)
    truth, count = it.sums(), sum(courses.values())
    assert (it.client.opened, sum(it.client.closed.values())) == (count, count)
    assert it.client.closed["failed"] == it.client.closed["unknown"] == 0
    assert it.client.closed["reset"] >= courses["client_reset"]
    slack = 10 * count  # replies that came after the client had gone, and FINs
    zeroed = it.report.missed["zeroed"]
    if zeroed == 0:
        assert abs(it.client.received - truth["client_sent"]) <= slack
        assert 0 <= it.client.sent - truth["client_received"] <= slack
    else:  # when one side resets, or gives up, Dante resets the other at once
        assert name.startswith("dante")
        assert zeroed <= 2 * (count - courses["half"])
        known = {course for course in courses if course != "target_reset"}
        least = sum(it.truth.client_received.get(course, 0) for course in known)
        assert it.client.sent >= least - slack
    if name != "ssh -D":
        assert it.upstream.closed["failed"] == courses["refused"]
        assert it.upstream.opened == it.truth.target_connections + courses["refused"]


async def test_clients_and_targets_in_its_own_namespace(tmp_path: Path) -> None:
    """Clients count once, by the proxy's end; what does not leave the namespace is to no destination."""
    with running("microsocks", tmp_path) as bed:
        it = await watch(bed, beside=True, courses=ORDERLY)
    assert (it.client.opened, it.upstream.opened) == (sum(ORDERLY.values()), 0)
    assert it.client.sent == it.sums()["client_received"]


def session(bed: Bed, target: socket.socket, answer: int, own: OwnTraffic | None) -> None:
    """One from the proxy's own namespace, as a probe's is; ours when it is noted as such."""
    with socket.socket() as client:
        client.bind((bed.host, 0))
        host, port = client.getsockname()
        if own:
            own.opened(host, port, time.time())
        client.connect((bed.host, PORT))
        socks.greet(client)
        socks.request(client, target.getsockname())
        assert socks.reply(client) == socks.SUCCEEDED
        with target.accept()[0] as served:
            client.sendall(b"GET" * 100)
            socks.receive(served, 300)
            served.sendall(bytes(answer))
            socks.receive(client, answer)
    if own:
        own.closed(host, port, time.time())


async def test_our_own_probes_are_kept_apart(tmp_path: Path) -> None:
    """On both sides, though the proxy dials for them as for any client."""
    with running("microsocks", tmp_path) as bed:
        with bed.outside.entered():
            target = socket.create_server((bed.target, TARGET))
        own = OwnTraffic()
        collector = TcpCollector(Settings(upstream="all"), PORT, sock_diag.KERNEL, SystemClock(), own)
        await collector.update()
        with target:
            session(bed, target, 3000, own)
            session(bed, target, 4200, None)
            session(bed, target, 30_000, own)
        async with asyncio.timeout(15):
            while not collector._account.connections.totals["upstream"].opened:
                await collector.due()
                await collector.update()
        await collector.close()
    client, upstream = collector._account.connections.totals.values()
    assert (client.opened, client.sent, client.received - 313 in (0, 1)) == (1, 4212, True)
    assert (upstream.opened, upstream.sent, upstream.received - 4200 in (0, 1)) == (1, 300, True)
    assert collector._account.connections.probes.matched == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", PROXIES)
async def test_durations_are_within_their_class(name: str, tmp_path: Path) -> None:
    """Sessions of up to ten seconds: the mean to within a tenth, and each class to within a look."""
    with running(name, tmp_path) as bed:
        it = await watch(
            bed, scheme_of(name), courses={"client": 400}, last=10, spread=2, at_once=100, up=500, down=500
        )
    truth = it.truth.durations
    mean = sum(truth) / len(truth)
    assert it.client.durations.sum / it.client.durations.count == pytest.approx(mean, abs=0.1)
    below = 0
    for bound, count in zip(it.client.durations.bounds, it.client.durations.counts, strict=True):
        below += count
        least = sum(duration < bound - 1.1 for duration in truth)
        most = sum(duration < bound + 1.1 for duration in truth)
        assert least <= below <= most


@pytest.mark.slow
@pytest.mark.parametrize("name", PROXIES)
async def test_a_thousand_at_once(name: str, tmp_path: Path) -> None:
    """All are open, all end, and every byte counts."""
    count = 90 if name == "ssh -D" else 1000
    with running(name, tmp_path) as bed:
        it = await watch(
            bed, scheme_of(name), courses={"client": count}, at_once=count, together=True, last=2
        )
    truth = it.sums()
    assert (it.client.opened, it.client.closed["fin"]) == (count, count)
    assert it.client.sent == truth["client_received"]
    assert 0 <= it.client.received - truth["client_sent"] <= count
