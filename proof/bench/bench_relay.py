"""What the relay costs beside HAProxy that passes the same SOCKS bytes through, in one run.

    python proof/bench/bench_relay.py [SECONDS] [ROUNDS] [CONNECTIONS ...]

Needs haproxy. Each has one process and one thread on one core, before the same node, which is a SOCKS server
that answers itself. Ours is the whole balancer, as `proxywatch balancer run` starts it: it chooses among three
nodes, records each decision and tells each event. HAProxy does not read the SOCKS. For each round: CPU per new
SOCKS connection (user and system time of the process, from /proc), requests on kept connections, one stream's
throughput, the latency that is added over going to the node directly. Then memory per 1,000 idle connections.
Medians, and our ratio to HAProxy: of processor time and latency the median of the ratios within a round.
"""

import asyncio
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from report import machine, table

NODE = """
import asyncio, sys, uvloop

class Node(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.state, self.held = transport, 0, b""
    def data_received(self, data):
        if self.state == 2:
            if data == b"STREAM":
                self.stream()
            elif data == b"SINK":
                self.state = 3
            else:
                self.transport.write(data)
            return
        if self.state == 3:
            return
        self.held += data
        if self.state == 0 and len(self.held) >= 3:
            self.held, self.state = self.held[3:], 1
            self.transport.write(b"\\5\\0")
        if self.state == 1 and len(self.held) >= 10:
            rest, self.state = self.held[10:], 2
            self.transport.write(b"\\5\\0\\0\\1\\0\\0\\0\\0\\0\\0")
            if rest:
                self.data_received(rest)
    def stream(self):
        self.go, chunk = True, b"x" * 65536
        def more():
            n = 0
            while self.go and n < 32 and not self.transport.is_closing():
                self.transport.write(chunk); n += 1
            if self.go and not self.transport.is_closing():
                asyncio.get_running_loop().call_soon(more)
        self.more = more
        more()
    def pause_writing(self):
        self.go = False
    def resume_writing(self):
        self.go = True
        self.more()

async def main():
    server = await asyncio.get_running_loop().create_server(Node, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""
BALANCER = """
nodes:
- {{id: n1, country: se, url: "socks5h://127.0.0.1:{node}"}}
- {{id: n2, country: se, url: "socks5h://127.0.0.1:{node}"}}
- {{id: n3, country: se, url: "socks5h://127.0.0.1:{node}"}}
relay: {{listen: "127.0.0.1:{port}", workers: {workers}, drain: 0s}}
api: {{listen: "127.0.0.1:{api}"}}
health: {{listen: "127.0.0.1:0"}}
"""
HAPROXY = """
global
  nbthread 1
  maxconn {maxconn}
  {stats}
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen relay
  bind 127.0.0.1:{port} maxconn {maxconn}
  maxconn {maxconn}
  balance leastconn
  server n1 127.0.0.1:{node}
  server n2 127.0.0.1:{node}
  server n3 127.0.0.1:{node}
"""
_TICKS = os.sysconf("SC_CLK_TCK")
HELLO = b"\5\1\0"
REQUEST = b"\5\1\0\1\xcb\0\x71\5\0\x50"


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def cpu(pid: int) -> float:
    """User and system seconds of a process and its children so far."""
    seconds = 0.0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / _TICKS
    return seconds


def resident(pid: int) -> int:
    """Bytes of memory that are theirs."""
    texts = [Path(f"/proc/{one}/status").read_text() for one in family(pid)]
    return sum(int(re.search(r"VmRSS:\s+(\d+)", text)[1]) for text in texts) * 1024  # type: ignore[index]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def script(text: str, core: int, *arguments: str) -> Iterator[tuple[int, int]]:
    """A Python program that prints its port; process id and port."""
    command = ["taskset", "-c", str(core), sys.executable, "-c", text, *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert running.stdout
    try:
        yield running.pid, int(running.stdout.readline())
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


@contextmanager
def haproxy(folder: Path, node: int, core: int) -> Iterator[tuple[int, int]]:
    """HAProxy before the node."""
    port = free_port()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, node=node, maxconn=min(most, 12000), stats=""))
    binary = shutil.which("haproxy") or "/usr/sbin/haproxy"
    running = subprocess.Popen(
        ["taskset", "-c", str(core), binary, "-db", "-f", str(config)], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        yield running.pid, port
    finally:
        running.kill()
        running.wait()


@contextmanager
def balancer(folder: Path, node: int, cores: str, workers: int = 1) -> Iterator[tuple[int, int]]:
    """Ours before the node."""
    port, api = free_port(), free_port()
    config = folder / "balancer.yaml"
    config.write_text(BALANCER.format(node=node, port=port, api=api, workers=workers))
    command = [sys.executable, "-m", "proxywatch", "balancer", "run", "-c", str(config)]
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    running = subprocess.Popen(
        ["taskset", "-c", cores, *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environ
    )
    try:
        _wait_for(api)
        _wait_for(port)
        yield running.pid, port
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


class Session(asyncio.Protocol):
    """A SOCKS client: handshake, then `ready`; then one word and its echo at a time."""

    def __init__(self, then: "asyncio.Future[Session] | None" = None) -> None:
        self.then = then
        self.size = 0
        self.expected = 12
        self.count = 0
        self.asked = False
        self.times: list[float] = []
        self.start = time.perf_counter()
        self.word = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        self.transport = transport
        transport.write(HELLO)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Through the handshake, then count."""
        self.size += len(data)
        if not self.asked and self.size >= 2:
            self.asked = True
            self.transport.write(REQUEST)  # type: ignore[attr-defined]
        if self.size >= self.expected:
            if self.then is not None:
                then, self.then = self.then, None
                then.set_result(self)
            elif self.word:
                self.count += 1
                now = time.perf_counter()
                self.times.append(now - self.start)
                self.start, self.size = now, 0
                self.expected = len(self.word)
                self.transport.write(self.word)  # type: ignore[attr-defined]


async def opened(port: int) -> Session:
    """One session that is open."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Session] = loop.create_future()
    await loop.create_connection(lambda: Session(future), "127.0.0.1", port)
    return await future


async def connections(port: int, seconds: float, width: int = 32) -> tuple[int, list[float]]:
    """Open and close for so long: how many, and how long each took."""
    end = time.perf_counter() + seconds
    took: list[float] = []

    async def worker() -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            session = await opened(port)
            took.append(time.perf_counter() - start)
            session.transport.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())
    return len(took), took


async def requests(port: int, seconds: float, width: int = 64) -> tuple[int, list[float]]:
    """Words of 100 bytes on kept sessions."""
    sessions = [await opened(port) for _ in range(width)]
    for one in sessions:
        one.word, one.size, one.expected, one.start = b"r" * 100, 0, 100, time.perf_counter()
        one.transport.write(one.word)  # type: ignore[attr-defined]
    await asyncio.sleep(seconds)
    for one in sessions:
        one.word = b""
        one.transport.close()
    return sum(one.count for one in sessions), [took for one in sessions for took in one.times]


def stream(port: int, seconds: float) -> float:
    """Bytes a second of one stream."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(HELLO)
        client.recv(2)
        client.sendall(REQUEST)
        client.recv(10)
        client.sendall(b"STREAM")
        buffer = bytearray(1 << 20)
        size, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            size += client.recv_into(buffer)
        return size / (time.perf_counter() - start)


async def idle(port: int, pid: int, count: int) -> float:
    """Memory per 1,000 sessions."""
    for one in [await opened(port) for _ in range(50)]:
        one.transport.close()
    await asyncio.sleep(0.3)
    before = resident(pid)
    sessions = []
    for _ in range(0, count, 100):
        sessions += await asyncio.gather(*(opened(port) for _ in range(100)))
    grown = resident(pid) - before
    for one in sessions:
        one.transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(1)
    return grown / count * 1000


def percentile(values: list[float], share: float) -> float:
    """In microseconds."""
    return sorted(values)[int(len(values) * share)] * 1e6


def measured(pid: int, port: int, seconds: float) -> dict[str, float]:
    """One turn of one of them."""
    import uvloop  # noqa: PLC0415

    found: dict[str, float] = {}
    before = cpu(pid)
    count, _ = uvloop.run(connections(port, seconds))
    found["connections/s"] = count / seconds
    found["us CPU per connection"] = (cpu(pid) - before) / count * 1e6
    before = cpu(pid)
    count, _ = uvloop.run(requests(port, seconds))
    found["requests/s"] = count / seconds
    found["us CPU per request"] = (cpu(pid) - before) / count * 1e6
    _, one_by_one = uvloop.run(connections(port, seconds / 2, 1))
    found["connect p50 us"], found["connect p99 us"] = (percentile(one_by_one, p) for p in (0.5, 0.99))
    _, words = uvloop.run(requests(port, seconds / 2, 1))
    found["request p50 us"], found["request p99 us"] = (percentile(words, p) for p in (0.5, 0.99))
    before, start = cpu(pid), time.perf_counter()
    found["MB/s, one stream"] = stream(port, seconds / 2) / 1e6
    took = time.perf_counter() - start
    found["CPU s per GB"] = (cpu(pid) - before) / (found["MB/s, one stream"] * took) * 1e3
    return found


def relays(folder: Path, node: int) -> dict[str, Any]:
    """How each is started."""
    return {
        "haproxy": lambda: haproxy(folder, node, 0),
        "proxywatch": lambda: balancer(folder, node, "0"),
        "2 workers": lambda: balancer(folder, node, "0,1", 2),
    }


def main(seconds: float, rounds: int, counts: list[int]) -> None:
    """Compare, and print."""
    import uvloop  # noqa: PLC0415

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    memory: dict[tuple[str, int], float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node_pid, node = stack.enter_context(script(NODE, 1))
        started = relays(folder, node)
        results: dict[str, list[dict[str, float]]] = {name: [] for name in ("direct", *started)}
        for number in range(rounds):
            for name in results if number % 2 else reversed(results):
                if name == "direct":
                    results[name].append(measured(node_pid, node, seconds))
                    continue
                with started[name]() as (pid, port):
                    results[name].append(measured(pid, port, seconds))
        for count in counts:
            for name in ("haproxy", "proxywatch"):
                with started[name]() as (pid, port):
                    memory[name, count] = uvloop.run(idle(port, pid, count)) / 1e6
    print(machine() + "\n")
    print(table(["", *results, "proxywatch / haproxy"], [*rows(results), *memory_rows(memory, counts)]))


def rows(results: dict[str, list[dict[str, float]]]) -> Iterator[list[str]]:
    """Medians of each figure."""
    for key in results["haproxy"][0]:
        middle = [f"{statistics.median(one[key] for one in found):,.2f}" for found in results.values()]
        pairs = zip(results["proxywatch"], results["haproxy"], strict=True)
        yield [key, *middle, f"{statistics.median(ours[key] / theirs[key] for ours, theirs in pairs):.2f}"]


def memory_rows(memory: dict[tuple[str, int], float], counts: list[int]) -> Iterator[list[str]]:
    """MB per 1,000 connections."""
    for count in counts:
        ours, theirs = memory["proxywatch", count], memory["haproxy", count]
        yield [
            f"MB per 1,000 at {count:,}", "", f"{theirs:,.2f}", f"{ours:,.2f}", "", f"{ours / theirs:.2f}",
        ]  # fmt: skip


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    main(words[0] if words else 4, words[1] if words[1:] else 3, words[2:] or [2000, 10000])
