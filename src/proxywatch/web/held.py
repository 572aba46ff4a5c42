"""What a connection holds, in bytes: constants measured by proof/bench/bench_held.py, rounded up."""

import asyncio
import fcntl

from proxywatch.net.tls import Channel
from proxywatch.web.message import HttpRequest

PLAIN = 2_200  # a connection that is idle: the transport, its socket, our objects
_TLS_NEW, _TLS_HANDSHAKE, _TLS_ESTABLISHED = 12_000, 50_000, 22_000  # OpenSSL's objects
_WAITER = 6_000  # a task that answers, with its coroutines
_HEADER = 180  # one header of a parsed request, beside its bytes
_SIOCOUTQ = 0x5411


def by_tls(tls: Channel) -> int:
    """The objects of OpenSSL, and what they have buffered."""
    size = _TLS_ESTABLISHED if tls.established else _TLS_HANDSHAKE if tls.begun else _TLS_NEW
    return size + tls.buffered


def by_request(request: HttpRequest) -> int:
    """A parsed request whose answer takes its time."""
    size = len(request.path) + len(request.query) + sum(map(len, request.headers.values()))
    return _WAITER + size + _HEADER * len(request.headers)


def unread(transport: asyncio.Transport) -> int:
    """What we have written and the client has not acknowledged: in the transport, and in the kernel."""
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return size
    return size + int.from_bytes(fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)), "little")
