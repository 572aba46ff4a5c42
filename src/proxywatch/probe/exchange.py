"""One transfer as libcurl tells it: what was asked, its callbacks while it runs, what happened.

libcurl's timers all count from the start of the transfer. The one boundary that they do not show, where SOCKS
ends and TLS begins, is the moment at which the first TLS record leaves, told by a debug event. Our own
stamps are put on libcurl's scale by the moment that both know: the proxy's name is resolved.
"""

import asyncio
import errno
import os
import socket
import time
from dataclasses import dataclass
from typing import Any, Protocol

import pycurl

from proxywatch.clock import Clock
from proxywatch.probe.own_traffic import OwnTraffic

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_TLS_HANDSHAKE = b"\x16"


@dataclass(frozen=True, slots=True)
class Request:
    """What to fetch.

    Attributes:
        kind: What it is for, as the history names it.
        url: http or https.
        timeout: For all of it, in seconds.
        limit: The most bytes of body to read.
        enough: True when reaching the limit is the end of the transfer, False when it is a failure.
        keep: Whether the body is wanted, not only counted.
        min_duration: Go on past `least` bytes until the body has taken as many seconds.
        least: With `min_duration`, the bytes to read at least.
        family: 4 or 6 to insist on one family for a connection made from here; 0 for either.
        patience: The longest that it may stand still, in whole seconds; 0 for as long as all of it may take.
    """

    kind: str
    url: str
    timeout: float
    limit: int
    enough: bool = False
    keep: bool = False
    min_duration: float = 0.0
    least: int = 0
    family: int = 0
    patience: int = 0


@dataclass(slots=True)
class Exchange:
    """What happened; times in seconds from the start of the transfer, None where it did not get that far.

    Attributes:
        id: For finding it again.
        kind: The request's.
        target: The request's URL.
        wanted: Bytes of body that make a success of a transfer that we end ourselves; 0 for the whole body.
        at: Unix time of the start.
        handshake: Whether a proxy stands between that has to be asked for a connection.
        connected: TCP connection to the proxy (to the server, when there is no proxy).
        hello: The first TLS record to the server left.
        secured: TLS is established.
        prepared: All is ready for the request.
        answered: The first byte of the answer.
        total: The end.
        code: libcurl's CURLE code, 0 for success.
        message: libcurl's words.
        proxy_code: libcurl's CURLPX code, 0 for none.
        connect_status: An HTTP proxy's own status, 0 for none.
        os_error: errno of the failed connect, 0 for none.
        verify: OpenSSL's X509_V code.
        status: HTTP status, 0 for none.
        received: Bytes of body.
        full: The limit was reached and the transfer was ended by us.
        speed: Bytes of body per second from the first to the last; None for less than two readings.
        tail_speed: The same for the second half of the body.
        endpoints: Our side's addresses and ports, one for each connection that was tried.
        body: Empty unless it was to be kept.
    """

    id: str
    kind: str
    target: str
    wanted: int
    at: float
    handshake: bool
    connected: float | None
    hello: float | None
    secured: float | None
    prepared: float | None
    answered: float | None
    total: float
    code: int
    message: str
    proxy_code: int
    connect_status: int
    os_error: int
    verify: int
    status: int
    received: int
    full: bool
    speed: float | None
    tail_speed: float | None
    endpoints: tuple[tuple[str, int], ...]
    body: bytes


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
        if self.request.keep:
            self.chunks.append(data)
        if self.received > self.request.limit or (self.request.enough and self._enough(now - self.first[0])):
            self.full = True
            return 0
        return None

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
            kind=self.request.kind,
            target=str(self.request.url),
            wanted=(self.request.least or self.request.limit) if self.request.enough else 0,
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
