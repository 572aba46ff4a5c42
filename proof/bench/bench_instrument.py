"""What counting costs: a relay with and without it, per connection, and a DNS handler with and without it.

    python bench/bench_instrument.py [ROUNDS] [CONNECTIONS]

One SOCKS5 relay has a bare port and one for each way of counting, used in turns of so many connections each.
A client in a second process connects through it, sends 300 bytes, reads 3,000 and closes. Processor time is
that of the relay. Each turn is compared with the bare one of its round, and the bare port is measured twice,
which shows what chance does. The recorder's calls are also timed by themselves, in a loop.
"""

import asyncio
import multiprocessing
import resource
import socket
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import cast

import uvloop

from proxywatch.instrument import Answer, MetricsAwareDns, MetricsAwareProxy
from proxywatch.instrument.connection import Connection

GREETING = b"\5\1\0"
ASK, TELL = b"q" * 300, b"a" * 3000
AT_ONCE = 20
QUERY = bytes.fromhex("beef01000001000000000000") + b"\3www\7example\3com\0\0\1\0\1"
RESPONSE = QUERY[:2] + b"\x81\x80" + QUERY[4:]


class Side(asyncio.Protocol):
    """One side of a relayed connection: writes what comes to the other one."""

    def __init__(self, count: Callable[[int], None] | None = None) -> None:
        self.count = count
        self.other: asyncio.Transport | None = None

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.count is not None:
            self.count(len(data))
        if self.other is not None:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """The other side ends with this one."""
        if self.other is not None:
            self.other.close()


class Client(Side):
    """The client's side: a SOCKS5 server without authentication that takes each message whole."""

    def __init__(self, tasks: asyncio.TaskGroup, proxy: MetricsAwareProxy | None) -> None:
        super().__init__()
        self.tasks = tasks
        self.proxy = proxy
        self.connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who it is."""
        self.transport = cast("asyncio.Transport", transport)
        client: str = transport.get_extra_info("peername")[0]
        if self.proxy is not None:
            self.connection = self.proxy.open(type="socks5", route="se", node="se-1", client=client)
            self.count = self.connection.received

    def data_received(self, data: bytes) -> None:
        """Take the greeting, then the request, then data."""
        if self.other is not None:
            super().data_received(data)
        elif data[:2] == b"\5\1" and len(data) == len(GREETING):
            self.write(b"\5\0")
        else:
            host, port = socket.inet_ntoa(data[4:8]), int.from_bytes(data[8:10], "big")
            self.tasks.create_task(self.dial(host, port))
        if self.other is None and self.count is not None:
            self.count(len(data))

    def write(self, data: bytes) -> None:
        """Answer the client."""
        if self.connection is not None:
            self.connection.sent(len(data))
        self.transport.write(data)

    async def dial(self, host: str, port: int) -> None:
        """Open the target's side."""
        side = Side(None if self.connection is None else self.connection.sent)
        side.other = self.transport
        self.other, _ = await asyncio.get_running_loop().create_connection(lambda: side, host, port)
        self.write(b"\5\0\0\1\0\0\0\0\0\0")

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        if self.connection is not None:
            self.connection.close()
        super().connection_lost(exc)


async def relay(pipe: Pipe) -> None:
    """Listen on a port for each way, and tell the processor time so far whenever asked."""
    loop = asyncio.get_running_loop()
    recorded, listened, wrapped = MetricsAwareProxy(), MetricsAwareProxy(), MetricsAwareProxy()
    seen = [0]

    def note(_event: object) -> None:
        seen[0] += 1

    listened.on("connection-open", note, inline=True)
    listened.on("connection-close", note, inline=True)
    async with asyncio.TaskGroup() as tasks:
        ways: dict[str, Callable[[], asyncio.BaseProtocol]] = {
            "bare": lambda: Client(tasks, None),
            "bare, again": lambda: Client(tasks, None),
            "recorder": lambda: Client(tasks, recorded),
            "recorder, events": lambda: Client(tasks, listened),
            "wrap_factory": wrapped.wrap_factory(lambda: Client(tasks, None)),
        }
        ports = {}
        for way, factory in ways.items():
            server = await loop.create_server(factory, "127.0.0.1", 0, backlog=1000)
            ports[way] = server.sockets[0].getsockname()[1]
        pipe.send(ports)
        asked = asyncio.Event()
        loop.add_reader(pipe.fileno(), asked.set)
        while True:
            await asked.wait()
            asked.clear()
            if pipe.recv() is None:
                return
            used = resource.getrusage(resource.RUSAGE_SELF)
            pipe.send(used.ru_utime + used.ru_stime)


def relay_process(pipe: Pipe) -> None:
    """The relay, in a process of its own."""
    uvloop.run(relay(pipe))


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The target."""
    try:
        await reader.readexactly(len(ASK))
        writer.write(TELL)
        await reader.read()
    finally:
        writer.close()


async def turn(port: int, count: int, target: tuple[str, int]) -> None:
    """So many connections."""
    rest = iter(range(count))
    request = b"\5\1\0\1" + socket.inet_aton(target[0]) + target[1].to_bytes(2, "big")

    async def work() -> None:
        for _ in rest:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GREETING)
            await reader.readexactly(2)
            writer.write(request)
            await reader.readexactly(10)
            writer.write(ASK)
            await reader.readexactly(len(TELL))
            writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    await asyncio.sleep(0.02)


async def compare(rounds: int, count: int) -> dict[str, list[float]]:
    """Processor seconds per connection in each turn, by way."""
    server = await asyncio.start_server(answering, "127.0.0.1", 0, backlog=1000)
    ours, theirs = multiprocessing.Pipe()
    target = server.sockets[0].getsockname()[:2]
    process = multiprocessing.get_context("spawn").Process(target=relay_process, args=(theirs,))
    process.start()
    ports: dict[str, int] = await asyncio.to_thread(ours.recv)
    spent: dict[str, list[float]] = {way: [] for way in ports}

    def used() -> float:
        ours.send("?")
        seconds: float = ours.recv()
        return seconds

    for port in ports.values():
        await turn(port, count, target)
    for number in range(rounds):
        ways = list(ports)
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            before = used()
            await turn(ports[way], count, target)
            spent[way].append((used() - before) / count)
    ours.send(None)
    process.join()
    server.close()
    return spent


def timed(call: Callable[[], object], count: int = 20_000) -> float:
    """Processor seconds of one call: the best of seven loops."""
    best = float("inf")
    for _ in range(7):
        start = time.process_time()
        for _ in range(count):
            call()
        best = min(best, (time.process_time() - start) / count)
    return best


def recorder() -> float:
    """Seconds of the recorder's calls for a connection with four chunks each way (SOCKS5 has two of them)."""
    proxy = MetricsAwareProxy()

    def connection() -> None:
        one = proxy.open(type="socks5", route="se", node="se-1", client="127.0.0.1")
        for _ in range(4):
            one.received(300)
            one.sent(3000)
        one.close()

    return timed(connection)


def queries() -> dict[str, float]:
    """Seconds of a wrapped handler that does nothing, less those of the bare one."""

    def handler(_query: bytes) -> bytes:
        return RESPONSE

    async def coroutine(_query: bytes) -> Answer[bytes]:
        return Answer(RESPONSE, cached=True)

    def stepped(made: Callable[[bytes], object]) -> None:
        one = made(QUERY)
        try:
            one.send(None)  # type: ignore[attr-defined]
        except StopIteration:
            return

    names = [QUERY[:13] + b"%07d" % number + QUERY[20:] for number in range(5000)]
    rest = iter(names * 1000)
    dns, noted = MetricsAwareDns(), MetricsAwareDns()
    noted.on("query-received", lambda _event: None, inline=True)
    noted.on("query-answered", lambda _event: None, inline=True)
    wrapped, told, later = dns.wrap(handler), noted.wrap(handler), dns.wrap(coroutine)
    bare = timed(lambda: handler(QUERY))
    return {
        "one name": timed(lambda: wrapped(QUERY)) - bare,
        "5,000 names, 1,000 counters": timed(lambda: wrapped(next(rest))) - bare,
        "coroutine that tells of its cache": timed(lambda: stepped(later))
        - timed(lambda: stepped(coroutine)),
        "events to two listeners": timed(lambda: told(QUERY)) - bare,
    }


def main() -> None:
    """Print both tables."""
    rounds, count = (int(word) for word in (sys.argv[1:] + ["100", "100"][len(sys.argv) - 1 :])[:2])
    spent = uvloop.run(compare(rounds, count))
    bare = statistics.median(spent["bare"])
    print("| relay | µs of processor per connection | beside the bare one |\n|---|--:|--:|")
    for way, values in spent.items():
        ratio = statistics.median(mine / its for mine, its in zip(values, spent["bare"], strict=True))
        print(f"| {way} | {statistics.median(values) * 1e6:.1f} | {ratio:.3f} |")
    calls = recorder()
    print(f"| the recorder's calls alone | {calls * 1e6:.2f} | {calls / bare:.3f} |")
    print("\n| DNS handler | µs per query |\n|---|--:|")
    for what, seconds in queries().items():
        print(f"| {what} | {seconds * 1e6:.2f} |")


if __name__ == "__main__":
    main()
