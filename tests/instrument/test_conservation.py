"""Thousands of real connections that end in every way: nothing is lost and nothing is counted twice."""

import asyncio
from collections import Counter
from random import Random

import pytest

from instrument.loops import Loop, both_loops, reset, run, until
from proxywatch.instrument import ConnectionClosed, ConnectionOpened, MetricsAwareProxy

AT_ONCE = 100
ROUTES = ("se", "gb", "us")


class Driver:
    """Opens connections at random and keeps books of its own."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.truth = Counter[str]()

    async def one(self, addresses: dict[str, tuple[str, int]]) -> None:
        """A connection that sends, reads all, some or nothing of what comes back, and ends somehow."""
        route = self.dice.choice(ROUTES)
        reader, writer = await asyncio.open_connection(*addresses[route])
        size = self.dice.choice([0, 1, 100, 5000])
        writer.write(self.dice.choice([b"e", b"x", b"c"]) + bytes(size))
        self.truth[route] += 1
        self.truth["opened"] += 1
        self.truth["sent"] += size + 1
        try:
            came = await reader.readexactly(size + 1)
            self.truth["read"] += len(came)
            ending = self.dice.choice(["close", "half", "reset"])
            if ending == "half":
                writer.write_eof()
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            ending = "reset"
        if ending == "reset":
            reset(writer)
        else:
            writer.close()


async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echo, and fail or cancel oneself at the end when the first byte says so."""
    first = b""
    try:
        while data := await reader.read(10_000):
            first = first or data[:1]
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
    if first == b"x":
        raise ValueError
    if first == b"c":
        raise asyncio.CancelledError


@both_loops
@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_books_balance(new_loop: Loop, count: int) -> None:
    """Opened = closed + active at every event; at the end the books are those of the driver."""
    proxy, driver = MetricsAwareProxy(), Driver(3)
    opened, closed, balance = dict[str, ConnectionOpened](), dict[str, ConnectionClosed](), list[int]()

    def check(event: ConnectionOpened | ConnectionClosed) -> None:
        if isinstance(event, ConnectionOpened):
            assert event.connection_id not in opened
            opened[event.connection_id] = event
        else:
            assert event.connection_id not in closed
            assert event.route == opened[event.connection_id].route
            closed[event.connection_id] = event
        total = proxy.get_totals()
        balance.append(total.opened - total.closed - total.active)
        assert total.active == len(opened) - len(closed)

    proxy.on("connection-open", check, inline=True)
    proxy.on("connection-close", check, inline=True)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        addresses = dict[str, tuple[str, int]]()
        servers = list[asyncio.Server]()
        for route in ROUTES:
            wrapped = proxy.wrap_handler(handler, route=route)
            servers.append(await asyncio.start_server(wrapped, "127.0.0.1", 0, backlog=1000))
            addresses[route] = servers[-1].sockets[0].getsockname()
        rest = iter(range(count))

        async def work() -> None:
            for _ in rest:
                await driver.one(addresses)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        await until(lambda: len(closed) == count)
        for server in servers:
            server.close()

    run(new_loop, main())
    total = proxy.get_totals()
    truth = driver.truth
    assert proxy.delivery.failed == 0
    assert set(balance) == {0}
    assert (total.opened, total.closed, total.active) == (truth["opened"], count, 0)
    assert total.bytes_in == total.bytes_out == truth["sent"] == truth["read"]
    assert sum(event.bytes_in for event in closed.values()) == truth["sent"]
    assert Counter(event.route for event in closed.values()) == {route: truth[route] for route in ROUTES}
    _, reasons = proxy.ledger.books()
    assert reasons == Counter(event.reason for event in closed.values())
    assert set(reasons) == {"closed", "lost", "error", "cancelled"}
