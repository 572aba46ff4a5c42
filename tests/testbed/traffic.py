"""Sessions through a proxy by a client and a target that count for themselves; a program of its own.

    python traffic.py PLAN

PLAN is the JSON of `Plan`. It prints `listening` when the target listens, waits for a line, makes the
sessions, and prints the JSON of `Truth`. It has no part of proxywatch in it, so that it can be the truth that
proxywatch is held against.
"""

import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

ENDS = ("client", "target", "half", "client_reset", "target_reset")
STAGES = ("silent", "negotiating", "requesting", "refused")
_LINGER = struct.pack("ii", 1, 0)
_REQUEST = struct.Struct("!IId16s")


@dataclass
class Plan:
    """What to do.

    Attributes:
        proxy: Its address and port.
        scheme: socks5 or http (CONNECT).
        target: Where the target listens, and where the proxy finds it.
        courses: How sessions go, by ENDS, or in which stage they are given up, by STAGES; how many of each.
        at_once: Sessions at the same time.
        up, down: Most bytes of payload each way.
        last: The longest that a session stands still, in seconds.
        spread: The longest that each waits before it connects, so that not all begin at the same moment.
        seed: Of the dice.
        together: Whether all are to be open before the first ends.
    """

    proxy: tuple[str, int]
    target: tuple[str, int]
    courses: dict[str, int]
    scheme: str = "socks5"
    at_once: int = 50
    up: int = 20_000
    down: int = 50_000
    last: float = 0.0
    spread: float = 0.0
    seed: int = 1
    together: bool = False


@dataclass
class Truth:
    """What happened, counted at both ends.

    Attributes:
        connections: From the client to the proxy, by course.
        client_sent, client_received: Bytes that the client wrote to the proxy and read from it, by course.
        target_connections: That the target accepted.
        target_sent, target_received: Bytes that the target wrote and read, by course.
        durations: Seconds of each of the client's connections.
    """

    connections: dict[str, int] = field(default_factory=dict)
    client_sent: dict[str, int] = field(default_factory=dict)
    client_received: dict[str, int] = field(default_factory=dict)
    target_connections: int = 0
    target_sent: dict[str, int] = field(default_factory=dict)
    target_received: dict[str, int] = field(default_factory=dict)
    durations: list[float] = field(default_factory=list)


class Counted:
    """A socket that counts."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.sent = self.received = 0
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)
        self.sent += len(data)

    async def receive(self, most: int) -> bytes:
        data = await self._loop.sock_recv(self.socket, most)
        self.received += len(data)
        return data

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = await self.receive(size - len(data))
            if not chunk:
                raise ConnectionError(f"closed after {len(data)} of {size} bytes")
            data += chunk
        return data

    async def rest(self) -> None:
        while await self.receive(65536):
            pass

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self.socket.close()


class Run:
    """One plan, carried out."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.truth = Truth()
        self.counts: dict[str, Counter[str]] = {
            name: Counter()
            for name in ("connections", "client_sent", "client_received", "target_sent", "target_received")
        }
        self.dice = random.Random(plan.seed)
        self.gate = asyncio.Semaphore(plan.at_once)
        self.opened = 0
        self.all_open = asyncio.Event()

    async def __call__(self) -> Truth:
        family = socket.AF_INET6 if ":" in self.plan.target[0] else socket.AF_INET
        listener = socket.create_server(tuple(self.plan.target), family=family, backlog=4096)
        listener.setblocking(False)  # noqa: FBT003
        print("listening", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        courses = [course for course, count in self.plan.courses.items() for _ in range(count)]
        self.dice.shuffle(courses)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self.serve(listener))
            async with asyncio.TaskGroup() as clients:
                for course in courses:
                    await self.gate.acquire()
                    clients.create_task(self.client(course))
            await asyncio.sleep(0.2)
            serving.cancel()
        listener.close()
        for name, counter in self.counts.items():
            setattr(self.truth, name, dict(counter))
        return self.truth

    # The target

    async def serve(self, listener: socket.socket) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                connection.setblocking(False)  # noqa: FBT003
                group.create_task(self.answer(Counted(connection)))

    async def answer(self, it: Counted) -> None:
        self.truth.target_connections += 1
        course = "?"
        try:
            up, down, last, name = _REQUEST.unpack(await it.exactly(_REQUEST.size))
            course = name.rstrip(b"\0").decode()
            await it.exactly(up)
            if course == "half":
                await it.rest()
            await it.send(b"d" * down)
            if course == "target":
                await asyncio.sleep(last)
            elif course == "target_reset":
                await asyncio.sleep(last + 0.05)
                it.reset()
            elif course != "half":
                await it.rest()
        except OSError:
            pass
        finally:
            it.socket.close()
            self.counts["target_sent"][course] += it.sent
            self.counts["target_received"][course] += it.received

    # The client

    async def client(self, course: str) -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self.plan.proxy[0] else socket.AF_INET
        await asyncio.sleep(self.dice.uniform(0, self.plan.spread))
        connection = socket.socket(family)
        connection.setblocking(False)  # noqa: FBT003
        await loop.sock_connect(connection, tuple(self.plan.proxy))
        begin = time.monotonic()
        it = Counted(connection)
        try:
            await self.converse(it, course)
        except OSError as error:
            if not course.endswith("reset"):
                print(f"{course}: {error!r}", file=sys.stderr)
        finally:
            it.socket.close()
            self.truth.durations.append(time.monotonic() - begin)
            self.counts["connections"][course] += 1
            self.counts["client_sent"][course] += it.sent
            self.counts["client_received"][course] += it.received
            self.gate.release()

    async def converse(self, it: Counted, course: str) -> None:
        plan = self.plan
        if course == "silent":
            await asyncio.sleep(0.05)
            return
        if not await (self.socks(it, course) if plan.scheme == "socks5" else self.http(it, course)):
            return
        up, down = self.dice.randint(0, plan.up), self.dice.randint(1, plan.down)
        last = self.dice.uniform(0, plan.last)
        if plan.together:
            self.opened += 1
            if self.opened == sum(plan.courses.values()):
                self.all_open.set()
            await self.all_open.wait()
        await it.send(_REQUEST.pack(up, down, last, course.encode()) + b"u" * up)
        if course == "half":
            it.socket.shutdown(socket.SHUT_WR)
        if course == "client_reset":
            await it.exactly(down)
            await asyncio.sleep(0.1)  # until all of it is acknowledged
            it.reset()
        elif course in ("half", "target", "target_reset"):
            await it.rest()
        else:
            await it.exactly(down)
            await asyncio.sleep(last)

    def destination(self, course: str) -> tuple[str, int]:
        """One that answers; for `refused` a port that nobody listens on."""
        host, port = self.plan.target
        return host, 1 if course == "refused" else port

    async def socks(self, it: Counted, course: str) -> bool:
        await it.send(b"\x05\x01\x00")
        if course == "negotiating":
            await asyncio.sleep(0.05)
            return False
        await it.exactly(2)
        host, port = self.destination(course)
        packed = (
            b"\4" + socket.inet_pton(socket.AF_INET6, host)
            if ":" in host
            else b"\1" + socket.inet_pton(socket.AF_INET, host)
        )
        await it.send(b"\x05\x01\x00" + packed + struct.pack("!H", port))
        if course == "requesting":
            return False
        _, code, _, kind = await it.exactly(4)
        await it.exactly({1: 6, 4: 18}[kind])
        return code == 0 and course != "refused"

    async def http(self, it: Counted, course: str) -> bool:
        host, port = self.destination(course)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n"
        await it.send(head.encode())
        if course == "negotiating":
            await asyncio.sleep(0.05)
            return False
        await it.send(b"\r\n")
        if course == "requesting":
            return False
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            byte = await it.receive(1)
            if not byte:
                return False
            answer += byte
        if b" 200 " not in answer.partition(b"\r\n")[0]:
            await it.rest()
            return False
        return True


def main() -> None:
    """Carry out the plan of the command line."""
    plan = Plan(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(asyncio.run(Run(plan)()))))


if __name__ == "__main__":
    main()
