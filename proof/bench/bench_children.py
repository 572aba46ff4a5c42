"""What one look at a Dante with 1,000 sessions costs on a host with 2,000 other processes, and beside whom.

    PYTHONPATH=src:tests:proof python proof/bench/bench_children.py [ROUNDS]

Ours is a pass of the collectors `sockets`, `children` and `active`, and their samples. It is measured in
turns with a scrape of process-exporter (Debian: prometheus-process-exporter; or where PROCESS_EXPORTER says)
that counts Dante's processes, once as it comes and once without threads and smaps, and with
psutil.process_iter over all processes, asked for name and command line. Then the same with 10,000 rows in
TIME_WAIT on the SOCKS port. Printed are medians, the ratios of ours to each, and the longest that our pass
held the event loop, from each source of sockets. It takes half a minute.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import psutil

from proxywatch.exporter.collector import children, sockets
from proxywatch.exporter.table import COLLECTORS, Context
from proxywatch.metrics.registry import Collector
from testbed import socks
from testbed.danted import danted, free_port
from testbed.target import holding

SESSIONS, BYSTANDERS, TIME_WAIT = 1_000, 2_000, 10_000
EXPORTER = os.environ.get("PROCESS_EXPORTER") or shutil.which("prometheus-process-exporter")
THRIFTY = ("-threads=false", "-gather-smaps=false")


@contextmanager
def bystanders(count: int) -> Iterator[None]:
    """Processes that have nothing to do with Dante, and end on their own after ten minutes."""
    started = [subprocess.Popen(["sleep", "600"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def leave_in_time_wait(port: int, count: int) -> None:
    """The server's side of connections that it closed first; they stay for a minute."""
    with socket.create_server(("127.0.0.1", port), backlog=16) as listener:
        for index in range(count):
            client = socket.create_connection(
                ("127.0.0.1", port), source_address=(f"127.1.0.{index % 250 + 1}", 0)
            )
            listener.accept()[0].close()
            client.close()


@contextmanager
def process_exporter(directory: Path, *options: str) -> Iterator[Callable[[], None]]:
    """A function that scrapes it once."""
    assert EXPORTER
    config = directory / "process-exporter.yaml"
    config.write_text("process_names:\n  - name: '{{.Comm}}'\n    comm: [danted]\n")
    port = free_port()
    listen = f"-web.listen-address=127.0.0.1:{port}"
    with subprocess.Popen(
        [EXPORTER, f"-config.path={config}", listen, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:

        def scrape() -> None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                text = answer.read().decode()
            assert 'groupname="danted"' in text

        try:
            wait_for(scrape)
            yield scrape
        finally:
            process.kill()


def wait_for(scrape: Callable[[], None]) -> None:
    """Until it answers."""
    for _ in range(100):
        try:
            return scrape()
        except OSError:
            time.sleep(0.1)
    raise TimeoutError


def all_processes() -> None:
    """What a collector does that looks for its processes at every turn."""
    titles = [
        process.info["cmdline"]
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "danted"
    ]
    assert titles


def ours(port: int) -> dict[str, Collector]:
    """The collectors as the daemon would build them."""
    peers: dict[str, Collector] = {}
    settings = {"sockets": sockets.Settings(port=port), "children": children.Settings()}
    for entry in COLLECTORS:
        section = entry.section or entry.name
        if section in settings:
            peers[entry.name] = entry.build(settings[section], Context().among(peers))
    return peers


async def one_pass(peers: dict[str, Collector]) -> None:
    """What a scrape makes them do."""
    for collector in peers.values():
        await collector.update()
    for collector in peers.values():
        assert list(collector.collect())


async def awaited(update: Callable[[], Awaitable[object]]) -> None:
    """As a coroutine, which a task wants."""
    await update()


async def longest_hold(update: Callable[[], Awaitable[object]]) -> float:
    """The longest time in seconds that the loop was not free for others."""
    longest = 0.0
    async with asyncio.TaskGroup() as group:
        task = group.create_task(awaited(update))
        while not task.done():
            start = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - start)
    return longest


def measure(rounds: int, looks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each, taken in turns; one round before to warm up."""
    times: dict[str, list[float]] = {name: [] for name in looks}
    for turn in range(rounds + 1):
        for name, look in looks.items():
            start = time.perf_counter()
            look()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: median(taken) for name, taken in times.items()}


def scene(rounds: int, time_wait: int) -> None:
    """One Dante with its sessions, and everybody's look at it."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        leave_in_time_wait(port, time_wait)
        server = stack.enter_context(danted(directory, port=port))
        site = stack.enter_context(holding())
        for _ in range(SESSIONS):
            stack.enter_context(socks.connect(port, ("127.0.0.1", site.port)))
        peers = ours(port)
        loop = stack.enter_context(asyncio.Runner())
        looks: dict[str, Callable[[], object]] = {"ours": lambda: loop.run(one_pass(peers))}
        if EXPORTER:
            looks["process-exporter"] = stack.enter_context(process_exporter(directory))
            looks["process-exporter, no threads, no smaps"] = stack.enter_context(
                process_exporter(directory, *THRIFTY)
            )
        looks["psutil.process_iter"] = all_processes
        print(f"\n{SESSIONS} sessions, {len(psutil.pids())} processes, {len(server.pids())} of them Dante's;")
        before = rows_in_time_wait(port)
        medians = measure(rounds, looks)
        print(f"{before} to {rows_in_time_wait(port)} rows in TIME_WAIT on its port; {rounds} rounds")
        print(peers["active"].status())
        for name, seconds in medians.items():
            print(f"{name:40}{seconds * 1000:10.2f} ms   ours / it = {medians['ours'] / seconds:.4f}")
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "all three": lambda: one_pass(peers),
            "inet_diag alone": lambda: sockets.from_inet_diag(port),
            "/proc/net/tcp alone": lambda: sockets.from_table(port),
        }
        for name, way in ways.items():
            held = median(loop.run(longest_hold(way)) for _ in range(rounds))
            print(f"loop held at most, {name:21}{held * 1000:10.2f} ms")


def rows_in_time_wait(port: int) -> int:
    """As the kernel has them now."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "06" for row in rows)


def main() -> None:
    """Both scenes."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    if not EXPORTER:
        print("prometheus-process-exporter is not installed: left out")
    with bystanders(BYSTANDERS):
        scene(rounds, 0)
        scene(rounds, TIME_WAIT)


if __name__ == "__main__":
    main()
