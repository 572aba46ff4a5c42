"""One transfer while it runs: the callbacks that libcurl calls, and what they saw.

libcurl's timers all count from the start of the transfer. The one boundary that they do not show, where SOCKS
ends and TLS begins, is the moment at which the first TLS record leaves, which a debug event shows. Our own
stamps are put on libcurl's scale by the moment that both know: the proxy's name is resolved.
"""

import asyncio
import errno
import os
import socket
import time
from typing import Any, Protocol

import pycurl

from proxywatch.clock import Clock
from proxywatch.probe.exchange import Exchange
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.request import Request

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_TLS_HANDSHAKE = b"\x16"
_ZEROS = bytes(64 << 10)


class _Address(Protocol):
    """Where libcurl wants to connect to."""

    family: int
    socktype: int
    protocol: int
    addr: tuple[Any, ...]


class Attempt:
    """The callbacks of one transfer and what they saw."""

    def __init__(
        self,
        request: Request,
        clock: Clock,
        own_traffic: OwnTraffic,
        *,
        straight: bool,
        connection: socket.socket | None = None,
    ) -> None:
        self.request = request
        self.connection = connection
        self.clock = clock
        self.own_traffic = own_traffic
        self.at = clock.now()
        self.opened_at: float | None = None
        self.straight = straight  # the next TLS is the target's, not an HTTPS proxy's own
        self.hello_at: float | None = None
        self.prepared = False
        self.endpoints: list[tuple[str, int]] = []  # more than one when libcurl tries both families
        self.os_error = 0
        self.received = 0
        self.sent = 0
        self.full = False
        self.chunks: list[bytes] = []
        self.first: tuple[float, int] | None = None
        self.middle: tuple[float, int] | None = None
        self.last: tuple[float, int] | None = None

    def open(self, _purpose: int, address: _Address) -> socket.socket | int:
        """Make the socket from an endpoint that others know before a byte leaves from it."""
        if self.opened_at is None:
            self.opened_at = time.perf_counter()
        try:
            connection = self.connection or _bound(address, self.request.family)
        except OSError as error:
            self.os_error = error.errno or errno.EIO
            return int(pycurl.SOCKET_BAD)
        host, port, *_ = connection.getsockname()
        self.endpoints.append((host, port))
        self.own_traffic.opened(host, port, self.clock.now())
        asyncio.get_running_loop().call_soon(connection.close)  # libcurl works on a duplicate
        return connection

    def closed(self) -> None:
        """Note that every connection made has been closed."""
        if self.connection is not None:
            self.connection.close()
        for endpoint in self.endpoints:
            self.own_traffic.closed(*endpoint, self.clock.now())

    def debug(self, kind: int, data: bytes) -> None:
        """Catch the moment of the first TLS record to the target."""
        if kind == pycurl.INFOTYPE_SSL_DATA_OUT:
            if self.straight and self.hello_at is None and data[:1] == _TLS_HANDSHAKE:
                self.hello_at = time.perf_counter()
        elif kind == pycurl.INFOTYPE_HEADER_OUT and data.startswith(b"CONNECT "):
            self.straight = True

    def ready(self, *_: object) -> int:
        """All that comes before the request is done."""
        self.prepared = True
        return int(pycurl.PREREQFUNC_OK)

    def write(self, data: bytes) -> int | None:
        """Count the body; another number than its length ends the transfer."""
        self.received += len(data)
        now = time.perf_counter()
        self.last = (now, self.received)
        if self.first is None:
            self.first = self.last
        elif self.middle is None and self.received * 2 >= (self.request.least or self.request.limit):
            self.middle = self.last
        if self.request.kept:
            self.chunks.append(data)
        if self.received > self.request.limit or (self.request.enough and self._enough(now - self.first[0])):
            self.full = True
            return 0
        return None

    def read(self, size: int) -> bytes:
        """The next bytes to send."""
        piece = min(size, self.request.upload - self.sent, len(_ZEROS))
        self.sent += piece
        return _ZEROS[:piece]

    def _enough(self, duration: float) -> bool:
        least = self.request.least or self.request.limit
        return self.received >= least and (
            duration >= self.request.min_duration or self.received >= self.request.limit
        )

    def exchange(self, curl: pycurl.Curl, code: int, message: str, *, handshake: bool) -> Exchange:
        """What happened, once it is over."""
        seconds = {name: curl.getinfo(option) / 1e6 or None for name, option in _TIMERS.items()}
        zero = (self.opened_at or 0.0) - (seconds["resolved"] or 0.0)
        return Exchange(
            id=os.urandom(6).hex(),
            request=self.request,
            at=self.at,
            handshake=handshake,
            connected=seconds["connected"],
            hello=self.hello_at - zero if self.hello_at is not None else None,
            secured=seconds["secured"] if self.prepared else None,
            prepared=seconds["prepared"] if self.prepared else None,
            answered=seconds["answered"] if self.prepared else None,
            total=seconds["total"] or 0.0,
            code=code,
            message=message,
            proxy_code=curl.getinfo(pycurl.PROXY_ERROR),
            connect_status=curl.getinfo(pycurl.HTTP_CONNECTCODE),
            os_error=self.os_error or curl.getinfo(pycurl.OS_ERRNO),
            verify=curl.getinfo(pycurl.SSL_VERIFYRESULT),
            status=curl.getinfo(pycurl.RESPONSE_CODE),
            received=self.received,
            full=self.full,
            speed=_speed(self.first, self.last),
            tail_speed=_speed(self.middle, self.last),
            sent=self.sent,
            endpoints=tuple(self.endpoints),
            body=b"".join(self.chunks),
        )


_TIMERS = {
    "resolved": pycurl.NAMELOOKUP_TIME_T,
    "connected": pycurl.CONNECT_TIME_T,
    "secured": pycurl.APPCONNECT_TIME_T,
    "prepared": pycurl.PRETRANSFER_TIME_T,
    "answered": pycurl.STARTTRANSFER_TIME_T,
    "total": pycurl.TOTAL_TIME_T,
}


def _speed(first: tuple[float, int] | None, last: tuple[float, int] | None) -> float | None:
    """Bytes per second between two readings; what the first one brought came before its stamp."""
    if first is None or last is None or last[0] <= first[0] or last[1] <= first[1]:
        return None
    return (last[1] - first[1]) / (last[0] - first[0])


def _bound(address: _Address, family: int) -> socket.socket:
    """A socket with the endpoint from which it will connect to that address; of that family, 0 for either."""
    if family and address.family != _FAMILIES[family]:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    source = _source(address.family, address.addr)
    connection = socket.socket(address.family, address.socktype, address.protocol)
    try:
        connection.bind((source, 0))
    except OSError:
        connection.close()
        raise
    return connection


def _source(family: int, address: tuple[Any, ...]) -> str:
    """The address from which the kernel would reach that one; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as route:
        route.connect(address)
        return str(route.getsockname()[0])
