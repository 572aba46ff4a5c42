"""Counting the connections of an asyncio protocol, which is given a transport that counts what is written."""

import asyncio
import functools
from collections.abc import Callable, Iterable
from typing import Any

from proxywatch.instrument.connection import CLOSED, ERROR, LOST, Connection

Factory = Callable[[], asyncio.BaseProtocol]
Accept = Callable[[asyncio.BaseTransport], Connection]

_MARK = "_counted_by"


def wrapped_factory(factory: Factory, owner: object, accept: Accept) -> Factory:
    """A factory of what `factory` makes, each told to `accept` when it is connected."""
    if getattr(factory, _MARK, None) is owner:
        return factory

    @functools.wraps(factory, updated=())
    def make() -> asyncio.BaseProtocol:
        return _counted(factory(), Link(accept))

    setattr(make, _MARK, owner)
    return make


class Link:
    """What a protocol and its transport share: the connection."""

    __slots__ = ("accept", "connection")

    def __init__(self, accept: Accept) -> None:
        self.accept = accept
        self.connection: Connection | None = None

    def made(self, transport: asyncio.BaseTransport) -> "CountedTransport":
        """It is connected."""
        self.connection = self.accept(transport)
        return CountedTransport(transport, self)

    def received(self, size: int) -> None:
        """So many bytes came."""
        if self.connection is not None:
            self.connection.received(size)

    def sent(self, size: int) -> None:
        """So many bytes were written."""
        if self.connection is not None:
            self.connection.sent(size)

    def lost(self, error: Exception | None) -> None:
        """It is connected no more."""
        if self.connection is not None:
            reason = CLOSED if error is None else LOST if isinstance(error, OSError) else ERROR
            self.connection.close(reason)


class CountedTransport(asyncio.Transport):
    """The transport as a protocol sees it. All but writing and changing protocols is the real one's.

    Attributes:
        wrapped: The real transport, for calls that take no other, such as uvloop's `start_tls`.
    """

    __slots__ = ("_link", "wrapped")

    def __init__(self, transport: Any, link: Link) -> None:  # noqa: ANN401
        self.wrapped = transport
        self._link = link

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.wrapped, name)

    def write(self, data: Any) -> None:  # noqa: ANN401, D102
        self._link.sent(memoryview(data).nbytes)
        self.wrapped.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:  # noqa: D102
        lines = list(list_of_data)
        self._link.sent(sum(memoryview(line).nbytes for line in lines))
        self.wrapped.writelines(lines)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:  # noqa: D102
        self.wrapped.set_protocol(_counted(protocol, self._link))

    def get_protocol(self) -> asyncio.BaseProtocol:  # noqa: D102
        protocol: asyncio.BaseProtocol = self.wrapped.get_protocol()
        return protocol.wrapped if isinstance(protocol, CountedProtocol | CountedBuffer) else protocol


def _passed_on(name: str) -> Callable[..., Any]:
    """A method that the base class has, done by the real transport."""

    def method(self: CountedTransport, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return getattr(self.wrapped, name)(*args, **kwargs)

    return method


for _name in (
    "get_extra_info", "is_closing", "close", "abort",
    "is_reading", "pause_reading", "resume_reading",
    "write_eof", "can_write_eof",
    "set_write_buffer_limits", "get_write_buffer_size", "get_write_buffer_limits",
):  # fmt: skip
    setattr(CountedTransport, _name, _passed_on(_name))


class _Counted(asyncio.BaseProtocol):
    """What both kinds of protocol have in common."""

    def __init__(self, protocol: Any, link: Link) -> None:  # noqa: ANN401
        self.wrapped = protocol
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wrapped.connection_made(self._link.made(transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.lost(exc)
        self.wrapped.connection_lost(exc)

    def pause_writing(self) -> None:
        self.wrapped.pause_writing()

    def resume_writing(self) -> None:
        self.wrapped.resume_writing()

    def eof_received(self) -> bool | None:
        keep: bool | None = self.wrapped.eof_received()
        return keep


class CountedProtocol(_Counted, asyncio.Protocol):
    """A protocol that is handed its data."""

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._link.received(len(data))
        self.wrapped.data_received(data)


class CountedBuffer(_Counted, asyncio.BufferedProtocol):
    """A protocol that has its data written into a buffer of its own."""

    def get_buffer(self, sizehint: int) -> Any:  # noqa: ANN401, D102
        return self.wrapped.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:  # noqa: D102
        self._link.received(nbytes)
        self.wrapped.buffer_updated(nbytes)


def _counted(protocol: asyncio.BaseProtocol, link: Link) -> asyncio.BaseProtocol:
    if isinstance(protocol, asyncio.DatagramProtocol | asyncio.SubprocessProtocol):
        raise TypeError("Only protocols of streams have connections to count.")
    if isinstance(protocol, asyncio.BufferedProtocol):
        return CountedBuffer(protocol, link)
    return CountedProtocol(protocol, link)
