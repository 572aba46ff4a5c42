"""A stream handler sees what it would see, and its connections are counted once."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from instrument.loops import Loop, both_loops, listening, reset, run, until
from proxywatch.instrument import ConnectionClosed, MetricsAwareProxy
from proxywatch.instrument.stream import Handler


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.close()


class Measured:
    """A proxy and the ends that it tells of."""

    def __init__(self) -> None:
        self.proxy = MetricsAwareProxy()
        self.closed: list[ConnectionClosed] = []
        self.proxy.on("connection-close", self.closed.append, inline=True)

    @asynccontextmanager
    async def serving(self, handler: Handler[[]]) -> AsyncIterator[tuple[str, int]]:
        """A server with a wrapped handler."""
        wrapped = self.proxy.wrap_handler(handler, type="tcp", route="echo")
        async with listening(await asyncio.start_server(wrapped, "127.0.0.1", 0)) as address:
            yield address

    async def end(self) -> ConnectionClosed:
        """The only connection's end."""
        await until(lambda: bool(self.closed))
        total = self.proxy.get_totals()
        assert (total.opened, total.closed, total.active, len(self.closed)) == (1, 1, 0, 1)
        return self.closed[0]


@both_loops
def test_whole_connection(new_loop: Loop) -> None:
    """Bytes, client and reason are those of the connection."""
    measured = Measured()

    async def main() -> None:
        async with measured.serving(echo) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"x" * 5000)
            assert await reader.readexactly(5000) == b"x" * 5000
            assert measured.proxy.get_connections_by_route() == {"echo": 1}
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            end = await measured.end()
        assert (end.bytes_in, end.bytes_out, end.reason, end.client) == (5000, 5000, "closed", "127.0.0.1")

    run(new_loop, main())


@both_loops
def test_every_way_to_read_and_write(new_loop: Loop) -> None:
    """However a handler reads and writes, bytes are counted, also those that it leaves unread."""
    measured, unread = Measured(), asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        await reader.readline()
        await reader.readuntil(b";")
        writer.writelines(iter([b"ab", b"cd"]))
        writer.write(memoryview(b"12345678").cast("Q"))
        await unread.wait()
        writer.close()

    async def main() -> None:
        async with measured.serving(handler) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"abcline\nuntil;unread")
            assert await reader.readexactly(12) == b"abcd12345678"
            unread.set()
            writer.close()
            end = await measured.end()
        assert (end.bytes_in, end.bytes_out) == (20, 12)

    run(new_loop, main())


@both_loops
def test_same_reader_and_writer(new_loop: Loop) -> None:
    """No stand-ins are handed in, and nothing is left on them afterwards."""
    measured, seen = Measured(), list[tuple[object, object, dict[str, object], dict[str, object]]]()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((reader, writer, vars(reader), vars(writer)))
        await echo(reader, writer)

    async def main() -> None:
        async with measured.serving(handler) as address:
            _, writer = await asyncio.open_connection(*address)
            writer.close()
            await measured.end()
            reader, writer_, of_reader, of_writer = seen[0]
            assert type(reader) is asyncio.StreamReader
            assert type(writer_) is asyncio.StreamWriter
            assert "feed_data" not in of_reader
            assert not {"write", "writelines"} & set(of_writer)

    run(new_loop, main())


@both_loops
def test_abrupt_loss(new_loop: Loop) -> None:
    """A client that resets the connection leaves it lost, once."""
    measured = Measured()

    async def main() -> None:
        async with measured.serving(echo) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"x")
            await reader.readexactly(1)
            reset(writer)
            assert (await measured.end()).reason == "lost"

    with_ignored_faults(new_loop, main)


@both_loops
def test_client_that_leaves_amid_a_message(new_loop: Loop) -> None:
    """A handler that is cut short by the client's end has lost it; that is no error of its own."""
    measured = Measured()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(10)
        finally:
            writer.close()

    async def main() -> None:
        async with measured.serving(handler) as address:
            _, writer = await asyncio.open_connection(*address)
            writer.write(b"x")
            writer.close()
            end = await measured.end()
        assert (end.reason, end.bytes_in) == ("lost", 1)

    with_ignored_faults(new_loop, main)


def with_ignored_faults(new_loop: Loop, main: object) -> None:
    """Run while the loop's reports of faults in handlers, which these tests make, are dropped."""

    async def quiet() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        await main()  # type: ignore[operator]

    run(new_loop, quiet())


@both_loops
def test_handler_that_raises(new_loop: Loop) -> None:
    """The server is told the same error as without the wrapper."""
    measured, told = Measured(), list[object]()
    fault = ValueError("its own")

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        raise fault

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: told.append(context["exception"])
        )
        wrapped = measured.proxy.wrap_handler(handler)

        async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await wrapped(reader, writer)
            except ValueError as error:
                told.append(error)

        async with listening(await asyncio.start_server(server, "127.0.0.1", 0)) as address:
            _, writer = await asyncio.open_connection(*address)
            assert (await measured.end()).reason == "error"
            writer.close()
        assert told == [fault]

    run(new_loop, main())


@both_loops
def test_cancelled(new_loop: Loop) -> None:
    """A cancelled handler stays cancelled; one that is cancelled before its first step was never counted."""
    measured = Measured()

    async def main() -> None:
        tasks, writers = list[asyncio.Task[None]](), list[asyncio.StreamWriter]()
        wrapped = measured.proxy.wrap_handler(echo)

        async with asyncio.TaskGroup() as group:

            def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.append(group.create_task(wrapped(reader, writer)))
                writers.append(writer)
                if len(tasks) == 1:
                    tasks[0].cancel()

            async with listening(await asyncio.start_server(server, "127.0.0.1", 0)) as address:
                _, first = await asyncio.open_connection(*address)
                await until(lambda: len(tasks) == 1 and tasks[0].done())
                assert measured.proxy.get_total_connections() == 0
                _, second = await asyncio.open_connection(*address)
                await until(lambda: measured.proxy.get_active_connections() == 1)
                tasks[1].cancel()
                assert (await measured.end()).reason == "cancelled"
                assert tasks[1].cancelled()
                for writer in (first, second, *writers):
                    writer.close()

    run(new_loop, main())


@both_loops
def test_handler_that_leaves_the_connection_to_others(new_loop: Loop) -> None:
    """A connection is open until it is closed, not until the handler has returned."""
    measured = Measured()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:

            def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(echo(reader, writer))

            async with measured.serving(handler) as address:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"abc")
                assert await reader.readexactly(3) == b"abc"
                assert measured.proxy.get_active_connections() == 1
                writer.close()
                end = await measured.end()
        assert (end.bytes_in, end.bytes_out, end.reason) == (3, 3, "closed")

    run(new_loop, main())


def test_wrapping_twice_counts_once() -> None:
    """The wrapper of one proxy is left as it is, shows its handler, and that of another proxy counts too."""
    proxy = MetricsAwareProxy()
    wrapped = proxy.wrap_handler(echo)
    assert proxy.wrap_handler(wrapped) is wrapped
    assert wrapped.__wrapped__ is echo  # type: ignore[attr-defined]
    assert wrapped.__name__ == "echo"
    assert MetricsAwareProxy().wrap_handler(wrapped) is not wrapped
    assert proxy.wrap_handler(functools.partial(echo)) is not None


@both_loops
def test_route_by_function(new_loop: Loop) -> None:
    """Routes and nodes may be named by the connection; a fault in naming costs nobody anything."""
    proxy = MetricsAwareProxy()

    def port(transport: asyncio.BaseTransport) -> str:
        return f"port {transport.get_extra_info('sockname')[1]}"

    def fail(_transport: asyncio.BaseTransport) -> str:
        raise LookupError

    async def main() -> None:
        wrapped = proxy.wrap_handler(echo, route=port, node=fail)
        async with listening(await asyncio.start_server(wrapped, "127.0.0.1", 0)) as address:
            _, writer = await asyncio.open_connection(*address)
            await until(lambda: proxy.get_total_connections() == 1)
            assert proxy.get_connections_by_route() == {f"port {address[1]}": 1}
            assert proxy.get_connections_by_node() == {"unknown": 1}
            writer.close()
            await until(lambda: proxy.get_active_connections() == 0)

    run(new_loop, main())


@pytest.mark.parametrize("fault", [None, ValueError(), KeyboardInterrupt(), asyncio.CancelledError()])
@pytest.mark.parametrize("sink_fails", [True, False])
async def test_wrapper_is_invisible(fault: BaseException | None, sink_fails: bool) -> None:  # noqa: FBT001
    """Whatever a handler does, and whatever a listener does about it, the caller sees the same object."""
    proxy = MetricsAwareProxy()

    def sink(_event: object) -> None:
        if sink_fails:
            raise RuntimeError

    proxy.on("connection-open", sink, inline=True)
    proxy.on("connection-close", sink, inline=True)

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        if fault is not None:
            raise fault

    seen = list[BaseException | None]()

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await proxy.wrap_handler(handler)(reader, writer)
        except BaseException as error:  # noqa: BLE001
            seen.append(error)
        else:
            seen.append(None)

    async with listening(await asyncio.start_server(server, "127.0.0.1", 0)) as address:
        _, writer = await asyncio.open_connection(*address)
        await until(lambda: bool(seen))
        writer.close()
    total = proxy.get_totals()
    assert seen == [fault]
    assert (total.opened, total.closed, total.active) == (1, 1, 0)
