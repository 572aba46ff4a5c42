"""What the kernel sends to everybody who listens to a netlink group (netlink(7)).

The kernel waits for no listener. What does not fit into the socket's buffer is dropped until the buffer has
been read empty: recv fails once with ENOBUFS, and the socket counts every message that it did not get.
"""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from proxywatch.errors import SourceError
from proxywatch.source import socket_filter

_HEADER = struct.Struct("=IH10x")
_SO_RCVBUFFORCE, _SO_MEMINFO = 33, 55
_MEMINFO = struct.Struct("=9I")
_DATAGRAM = 8192  # one message each, of half a kilobyte
_KERNEL = 0  # the port of the sender
_MOST = 8


class Broadcasts:
    """The messages of some groups; `close()` ends it.

    Where the buffer of one socket is limited, several share the messages among them.

    Attributes:
        buffer: Bytes that the kernel may hold for us. A message takes some 1,300 of them.
        overruns: How often recv said that messages were dropped.
    """

    def __init__(
        self,
        protocol: int,
        groups: int,
        kind: int,
        *,
        buffer: int,
        most: int | None = None,
        parting: Sequence[int] = (),
    ) -> None:
        """Begin to listen.

        Args:
            protocol: A netlink family, such as NETLINK_SOCK_DIAG.
            groups: A bit for each group.
            kind: The type of the messages that are wanted; others are passed over.
            buffer: Bytes to ask for; without CAP_NET_ADMIN, net.core.rmem_max is the most that a socket gets.
            most: Bytes to ask for at most for each socket; None for all of them.
            parting: The places of bytes in a message by which it may be given to one of several sockets.

        Raises:
            SourceError: Refused, or not known here (not temporary).
        """
        self.overruns = self.buffer = 0
        self._kind = kind
        self._sockets: list[socket.socket] = []
        try:
            first = self._open(protocol)
            granted = _enlarge(first, most or buffer)
            count = _count(buffer, granted) if parting else 1
            for _ in range(count - 1):
                _enlarge(self._open(protocol), most or buffer)
            if count > 1:
                for number, one in enumerate(self._sockets):
                    socket_filter.attach(one, parting, count, number)
            for one in self._sockets:
                one.bind((0, groups))
            self.buffer = granted * count
        except OSError as error:
            self.close()
            raise _refused(error) from error

    def _open(self, protocol: int) -> socket.socket:
        one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._sockets.append(one)
        one.setblocking(False)  # noqa: FBT003 - the standard library's signature
        return one

    def read(self, most: int) -> list[bytes]:
        """The payloads of messages that have come; empty when there are no more.

        Args:
            most: How many to read at most.

        Raises:
            SourceError: A socket fails.
        """
        payloads: list[bytes] = []
        for one in self._sockets:
            while len(payloads) < most and self._read(one, most, payloads):
                pass
        if len(self._sockets) > 1:  # whoever was read last is the first next time
            self._sockets.insert(0, self._sockets.pop())
        return payloads

    def _read(self, one: socket.socket, most: int, payloads: list[bytes]) -> bool:
        """Read until there are so many; False when the socket has no more."""
        receive, size, kind = one.recvfrom, _HEADER.size, self._kind
        try:
            for _ in range(most - len(payloads)):
                datagram, (sender, _groups) = receive(_DATAGRAM)
                if sender != _KERNEL or len(datagram) < size:
                    continue
                length, its_kind = _HEADER.unpack_from(datagram)
                if its_kind == kind and size <= length <= len(datagram):
                    payloads.append(datagram[size:length])
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise SourceError(f"netlink: {_words(error)}") from error
            self.overruns += 1
        return True

    def dropped(self) -> int | None:
        """How many messages the kernel has dropped, exactly; None where it does not say (before 4.7)."""
        counts = [_dropped(one) for one in self._sockets]
        return None if None in counts else sum(count or 0 for count in counts)

    async def wait(self, seconds: float) -> None:
        """Return when a message has come, after `seconds` at the latest."""
        loop = asyncio.get_running_loop()
        come = asyncio.Event()
        for one in self._sockets:
            loop.add_reader(one, come.set)
        try:
            async with asyncio.timeout(seconds):
                await come.wait()
        except TimeoutError:
            return
        finally:
            for one in self._sockets:
                loop.remove_reader(one)

    def close(self) -> None:
        """Listen no longer; harmless when repeated."""
        for one in self._sockets:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _dropped(one: socket.socket) -> int | None:
    try:
        answer = one.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return None
    return int(_MEMINFO.unpack(answer)[8]) if len(answer) == _MEMINFO.size else None


def _enlarge(connection: socket.socket, buffer: int) -> int:
    """Ask for a buffer beyond the limit of everybody, else for the most within it; what was given."""
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with suppress(PermissionError):
            connection.setsockopt(socket.SOL_SOCKET, option, buffer)
            break
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _count(wanted: int, granted: int) -> int:
    """Among how many sockets messages are shared: a power of two."""
    return 1 if granted >= wanted else min(_MOST, 1 << (wanted // max(granted, 1)).bit_length())


def _refused(error: OSError) -> SourceError:
    return SourceError(f"netlink: {_words(error)}", temporary=False)


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
