"""What the kernel sends to everybody who listens to a netlink group (netlink(7)).

The kernel waits for no listener. What does not fit into the socket's buffer is dropped until the buffer has
been read empty: recv fails once with ENOBUFS, and the socket counts every message that it did not get.
"""

import asyncio
import errno
import os
import socket
import struct
from contextlib import suppress
from typing import Self

from proxywatch.errors import SourceError

_HEADER = struct.Struct("=IH10x")
_SO_RCVBUFFORCE, _SO_MEMINFO = 33, 55
_MEMINFO = struct.Struct("=9I")
_DATAGRAM = 8192  # one message each, of half a kilobyte
_KERNEL = 0  # the port of the sender


class Broadcasts:
    """The messages of some groups; `close()` ends it.

    Attributes:
        buffer: Bytes that the kernel may hold for us. A message takes some 1,300 of them.
        overruns: How often recv said that messages were dropped.
    """

    def __init__(self, protocol: int, groups: int, kind: int, buffer: int) -> None:
        """Begin to listen.

        Args:
            protocol: A netlink family, such as NETLINK_SOCK_DIAG.
            groups: A bit for each group.
            kind: The type of the messages that are wanted; others are passed over.
            buffer: Bytes to ask for; without CAP_NET_ADMIN, net.core.rmem_max is the most that is given.

        Raises:
            SourceError: Refused, or not known here (not temporary).
        """
        self.overruns = 0
        self._kind = kind
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        except OSError as error:
            raise _refused(error) from error
        try:
            self._socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self.buffer = _enlarge(self._socket, buffer)
            self._socket.bind((0, groups))
        except OSError as error:
            self._socket.close()
            raise _refused(error) from error

    def read(self, most: int) -> list[bytes]:
        """The payloads of messages that have come, the oldest first; empty when there are no more.

        Args:
            most: How many to read at most.

        Raises:
            SourceError: The socket fails.
        """
        payloads: list[bytes] = []
        receive, size = self._socket.recvfrom, _HEADER.size
        try:
            for _ in range(most):
                datagram, (sender, _groups) = receive(_DATAGRAM)
                if sender != _KERNEL or len(datagram) < size:
                    continue
                length, kind = _HEADER.unpack_from(datagram)
                if kind == self._kind and size <= length <= len(datagram):
                    payloads.append(datagram[size:length])
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise SourceError(f"netlink: {_words(error)}") from error
            self.overruns += 1
            return payloads or self.read(most)
        return payloads

    def dropped(self) -> int | None:
        """How many messages the kernel has dropped, exactly; None where it does not say (before 4.7)."""
        try:
            answer = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        except OSError:
            return None
        return int(_MEMINFO.unpack(answer)[8]) if len(answer) == _MEMINFO.size else None

    async def wait(self, seconds: float) -> None:
        """Return when a message has come, after `seconds` at the latest."""
        loop = asyncio.get_running_loop()
        come = asyncio.Event()
        loop.add_reader(self._socket, come.set)
        try:
            async with asyncio.timeout(seconds):
                await come.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(self._socket)

    def close(self) -> None:
        """Listen no longer; harmless when repeated."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _enlarge(connection: socket.socket, buffer: int) -> int:
    """Ask for a buffer beyond the limit of everybody, else for the most within it; what was given."""
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with suppress(PermissionError):
            connection.setsockopt(socket.SOL_SOCKET, option, buffer)
            break
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _refused(error: OSError) -> SourceError:
    return SourceError(f"netlink: {_words(error)}", temporary=False)


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
