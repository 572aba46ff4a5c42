"""Clients that ask by UDP.

The sockets are read here rather than by the loop's own transports: many packets per turn, but not without
end; and on a socket for every address a reply leaves from the very address that was asked, else clients
drop it.
"""

import asyncio
import socket
from asyncio import TaskGroup
from collections.abc import Sequence
from struct import pack

from proxywatch.dns.answer import Handler

_PER_TURN = 64
_LARGEST = 4096
_ANCILLARY = 128
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50
_WAITING = 5000

_Origin = tuple[tuple[str, int], Sequence[tuple[int, int, bytes]]]


class UdpServer:
    """Reads queries and writes replies.

    Attributes:
        dropped: Queries for which there was no room, and replies that the kernel did not take.
    """

    def __init__(self, handler: Handler, group: TaskGroup) -> None:
        """Be handed who answers, and where that happens."""
        self.dropped = 0
        self._handler = handler
        self._group = group
        self._sockets: list[socket.socket] = []
        self._waiting = 0

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    def listen(self, sock: socket.socket) -> None:
        """Read a bound socket from now on."""
        wide = sock.getsockname()[0] in {"0.0.0.0", "::"}
        if wide and sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif wide:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        self._sockets.append(sock)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable, sock, wide)

    def close(self) -> None:
        """Stop listening."""
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    def _readable(self, sock: socket.socket, wide: bool) -> None:  # noqa: FBT001 - the loop passes no keywords
        for _ in range(_PER_TURN):
            try:
                if wide:
                    query, ancillary, _, client = sock.recvmsg(_LARGEST, _ANCILLARY)
                else:
                    query, client = sock.recvfrom(_LARGEST)
                    ancillary = []
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier reply
            if self._waiting >= _WAITING:
                self.dropped += 1
                continue
            self._waiting += 1
            self._group.create_task(self._answer(sock, query, (client, ancillary)))

    async def _answer(self, sock: socket.socket, query: bytes, origin: _Origin) -> None:
        client, ancillary = origin
        try:
            answer = await self._handler.answer(query, "udp", client[0])
            if not answer.wire or sock.fileno() < 0:
                return
            if ancillary:
                sock.sendmsg([answer.wire], [_source(each) for each in ancillary], 0, client)
            else:
                sock.sendto(answer.wire, client)
        except OSError:
            self.dropped += 1
        finally:
            self._waiting -= 1


def _source(told: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    """What makes a reply leave from the address that the query was sent to."""
    level, kind, data = told
    if level == socket.IPPROTO_IP:
        return level, kind, pack("=I4s4x", 0, data[4:8])
    return level, _IPV6_PKTINFO, data
