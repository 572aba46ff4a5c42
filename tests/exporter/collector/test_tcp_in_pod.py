"""Where it is slow, and where segments are lost: a real tunnel that delays and loses, on either side."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxywatch.clock import SystemClock
from proxywatch.exporter.collector.tcp import Settings, TcpCollector
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.source import sock_diag
from proxywatch.tcp.report import Side
from testbed import proxies
from testbed.pod import Pod, missing

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"a pod needs {missing()}"),
]
DELAY, LOSS = 40, 3
ROUNDS, DOWN = 20, 200_000


async def watch(pod: Pod, port: int, transfer: Callable[[], object]) -> dict[str, Side]:
    """Follow the transfers, each of which is one connection through the proxy on the port of the pod."""
    collector = TcpCollector(Settings(upstream="all"), port, sock_diag.KERNEL, SystemClock(), OwnTraffic())
    done = asyncio.Event()

    async def follow() -> None:
        while not done.is_set():
            await collector.due()
            await collector.update()

    with pod.entered("pod"):
        await collector.update()
        async with asyncio.TaskGroup() as group:
            group.create_task(follow())
            for _ in range(ROUNDS):
                await asyncio.to_thread(transfer)
            await asyncio.sleep(1)
            done.set()
        await collector.close()
    report = collector.status().report
    assert report is not None
    assert report.sides["client"].opened == ROUNDS
    return report.sides


def lost(side: Side) -> float:
    """What tells of losses, either way."""
    return (side.retransmitted_share or 0) + (side.out_of_order_share or 0)


def is_clean(side: Side) -> bool:
    """Neither delayed nor lossy; a busy machine sends a segment in a thousand again."""
    assert side.mean_minimum_round_trip_seconds is not None
    return side.mean_minimum_round_trip_seconds < 0.005 and lost(side) < 0.005


def is_troubled(side: Side) -> bool:
    """Delayed by the tunnel both ways, with segments sent again, or received after a gap."""
    assert side.mean_minimum_round_trip_seconds is not None
    return 2 * DELAY <= side.mean_minimum_round_trip_seconds * 1000 < 3 * DELAY and lost(side) > 0.02


async def test_the_way_to_destinations() -> None:
    """A tunnel that delays and loses: seen on that side, and not on the clients'."""
    with Pod(dante_log="error") as pod:
        pod.delay(DELAY)
        pod.loss(LOSS)
        sides = await watch(pod, 1080, lambda: pod.get(f"/bytes/{DOWN}", timeout=60))
    assert is_clean(sides["client"]), sides
    assert is_troubled(sides["upstream"]), sides


@contextmanager
def web_on_the_near_side(pod: Pod, directory: Path) -> Iterator[str]:
    """A web server where clients are; its address as the pod sees it."""
    (directory / "file").write_bytes(bytes(DOWN))
    command = ["/usr/bin/python3", "-m", "http.server", "8000", "--directory", str(directory)]
    server = pod.popen("client", *command, stdout=-3, stderr=-3)
    pod.wait("web server", lambda: ":8000" in pod.exec("client", "ss", "-Hltn"), 10)
    try:
        yield f"http://10.90.{pod.number}.1:8000/file"
    finally:
        server.terminate()
        server.wait(5)


async def test_the_way_to_clients(tmp_path: Path) -> None:
    """Clients behind that tunnel, destinations near: the other way round."""
    if lacking := proxies.missing("microsocks"):
        pytest.skip(f"{lacking} is not installed")
    with Pod(dante=False) as pod, web_on_the_near_side(pod, tmp_path) as url:
        inside = ["nsenter", "-t", str(pod.pid("pod")), "-n"]
        with proxies.microsocks(inside, f"10.92.{pod.number}.2", 1081):
            pod.delay(DELAY)
            pod.loss(LOSS)
            proxy = f"socks5h://10.92.{pod.number}.2:1081"
            fetch = ["curl", "-sf", "-m", "60", "-o", "/dev/null", "-x", proxy, url]
            sides = await watch(pod, 1081, lambda: pod.exec("far", *fetch, timeout=70))
    assert is_clean(sides["upstream"]), sides
    assert is_troubled(sides["client"]), sides
