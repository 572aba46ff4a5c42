"""What a connection holds, in bytes: constants measured by proof/bench/bench_held.py, rounded up."""

import asyncio
import fcntl
from contextlib import suppress

from proxywatch.net.tls import Channel
from proxywatch.web.message import HttpRequest, Response

PLAIN = 2_200  # a connection that is idle: the transport, its socket, our objects
_TLS_NEW, _TLS_HANDSHAKE, _TLS_ESTABLISHED = 12_000, 60_000, 28_000  # OpenSSL's objects
_WAITER = 6_000  # a task that answers, with its coroutines
_HEADER = 180  # one header of a parsed request, beside its bytes
_SIOCOUTQ = 0x5411


def by_tls(tls: Channel | None) -> int:
    """The objects of OpenSSL, and what they have buffered."""
    if tls is None:
        return 0
    size = _TLS_ESTABLISHED if tls.established else _TLS_HANDSHAKE if tls.begun else _TLS_NEW
    return size + tls.buffered


def by_request(request: HttpRequest | None, response: Response | None) -> int:
    """A parsed request whose answer takes its time, and an answer that waits for its turn."""
    if request is None:
        return 0
    size = len(request.path) + len(request.query) + sum(map(len, request.headers.values()))
    size += _WAITER + _HEADER * len(request.headers)
    return size if response is None else size + len(response.body)


def unread(transport: asyncio.Transport) -> int:
    """What we have written and the client has not acknowledged: in the transport, and in the kernel."""
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with suppress(OSError):
            size += int.from_bytes(fcntl.ioctl(sock.fileno(), _SIOCOUTQ, bytes(4)), "little")
    return size
