"""Generic netlink, the kernel's own way to be asked about its parts: one question, one answer.

The kernel answers within the call, so nothing here waits. The answer may hold secrets: it is received into
the caller's own buffer, who wipes it.
"""

import socket
import struct

from proxywatch.errors import SourceError
from proxywatch.source.file import unreadable

_GENERIC = 16
_HEAD = struct.Struct("=IHHII")
_ERROR, _DONE, _MULTI = 2, 3, 2
_PATIENCE = 0.5


def ask(request: bytes, into: bytearray) -> int:
    """Send one request; returns how many bytes of the buffer all messages of the answer fill.

    Raises:
        SourceError: No netlink here, or an answer longer than the buffer.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _GENERIC) as sock:
            sock.settimeout(_PATIENCE)
            sock.bind((0, 0))
            sock.send(request)
            return _receive(sock, into)
    except OSError as error:
        raise unreadable("netlink", error) from error


def _receive(sock: socket.socket, into: bytearray) -> int:
    size = 0
    with memoryview(into) as buffer:
        while True:
            received, _, flags, _ = sock.recvmsg_into([buffer[size:]])
            if flags & socket.MSG_TRUNC or not received:
                raise SourceError(f"netlink: an answer of more than {len(into)} bytes", temporary=False)
            if _is_last(buffer[size : size + received]):
                return size + received
            size += received


def _is_last(datagram: memoryview) -> bool:
    """Whether the answer ends with this datagram: an error, an end mark, or a message that stands alone."""
    while len(datagram) >= _HEAD.size:
        length, kind, flags, *_ = _HEAD.unpack_from(datagram)
        if kind in (_ERROR, _DONE) or not flags & _MULTI or length < _HEAD.size:
            return True
        datagram = datagram[(length + 3) & ~3 :]
    return False
