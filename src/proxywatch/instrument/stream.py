"""Counting the connections of an asyncio stream handler, which gets the very reader and writer it would have.

Bytes are counted where they enter the reader and leave the writer. What a handler writes to
`writer.transport` directly is not seen.
"""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Concatenate, ParamSpec

from proxywatch.instrument.connection import CANCELLED, CLOSED, ERROR, LOST, Connection

P = ParamSpec("P")
Handler = Callable[Concatenate[asyncio.StreamReader, asyncio.StreamWriter, P], Awaitable[None] | None]
CoroutineHandler = Callable[
    Concatenate[asyncio.StreamReader, asyncio.StreamWriter, P], Coroutine[Any, Any, None]
]
Accept = Callable[[asyncio.BaseTransport], Connection]

_MARK = "_counted_by"


def wrapped_handler(handler: Handler[P], owner: object, accept: Accept) -> CoroutineHandler[P]:
    """A handler that tells `accept` of each connection and then does what `handler` does."""
    if getattr(handler, _MARK, None) is owner:
        return handler  # type: ignore[return-value] # it was made here

    async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        connection = accept(writer.transport)
        error: BaseException | None = None
        try:
            with _counted(reader, writer, connection):
                result = handler(reader, writer, *args, **kwargs)
                if inspect.isawaitable(result):
                    await result
                if not writer.is_closing():
                    await _closed(writer)
        except BaseException as raised:
            error = raised
            raise
        finally:
            connection.close(_reason(error, reader))
            error = None  # a traceback that holds its own frame would live until the next collection

    functools.update_wrapper(handle, handler)
    setattr(handle, _MARK, owner)
    return handle


@contextlib.contextmanager
def _counted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection
) -> Iterator[None]:
    """Count what enters the reader and leaves the writer meanwhile."""
    feed, write, writelines = reader.feed_data, writer.write, writer.writelines
    connection.received(len(vars(reader).get("_buffer", b"")))  # what came before the handler's first step

    def counted_feed(data: Any) -> None:  # noqa: ANN401 - any bytes-like object
        connection.received(len(data))
        feed(data)

    def counted_write(data: Any) -> None:  # noqa: ANN401
        connection.sent(memoryview(data).nbytes)
        write(data)

    def counted_writelines(data: Iterable[Any]) -> None:
        lines = list(data)
        connection.sent(sum(memoryview(line).nbytes for line in lines))
        writelines(lines)

    replaced: tuple[tuple[object, str, Callable[[Any], None]], ...] = (
        (reader, "feed_data", counted_feed),
        (writer, "write", counted_write),
        (writer, "writelines", counted_writelines),
    )
    for it, name, function in replaced:
        setattr(it, name, function)
    try:
        yield
    finally:
        for it, name, _ in replaced:
            delattr(it, name)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Wait for the end of a connection that the handler has left to others."""
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _reason(error: BaseException | None, reader: asyncio.StreamReader) -> str:
    """As the connection is seen from the client: it is lost also when the handler made nothing of that."""
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    left = isinstance(error, ConnectionError | asyncio.IncompleteReadError) and reader.at_eof()
    if left or reader.exception() is not None:
        return LOST
    return CLOSED if error is None else ERROR
