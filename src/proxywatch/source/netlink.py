"""Dumps from the kernel over netlink(7), by the standard library's socket alone.

Every message starts with a header of 16 bytes in the machine's byte order: length with the header, type,
flags, sequence, port. A dump comes in datagrams of many messages and ends with NLMSG_DONE. The kernel fills
each datagram when it is received, so nothing piles up on either side.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator

from proxywatch.errors import SourceError

_HEADER = struct.Struct("=IHHII")
_ERRNO = struct.Struct("=i")
_REQUEST, _DUMP = 0x001, 0x300
_ERROR, _DONE = 2, 3
_DATAGRAM = 65536  # the kernel fills at most 32 KiB
_TIMEOUT = 2.0
_FINAL = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOENT,
    errno.EAFNOSUPPORT,
    errno.EPROTONOSUPPORT,
    errno.EOPNOTSUPP,
    errno.EINVAL,
}


def dump(protocol: int, kind: int, request: bytes) -> Iterator[list[bytes]]:
    """The answers to one dump request, datagram by datagram.

    Args:
        protocol: A netlink family, such as NETLINK_SOCK_DIAG.
        kind: The type of the request.
        request: What follows the header.

    Yields:
        The payloads of the messages of one datagram.

    Raises:
        SourceError: Refused or not known here (not temporary), cut off or unanswered (temporary).
    """
    header = _HEADER.pack(_HEADER.size + len(request), kind, _REQUEST | _DUMP, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as kernel:
            kernel.settimeout(_TIMEOUT)
            kernel.send(header + request)
            done = False
            while not done:
                payloads, done = _messages(kernel.recv(_DATAGRAM))
                yield payloads
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SourceError(f"netlink: {reason}", temporary=error.errno not in _FINAL) from error


def _messages(datagram: bytes) -> tuple[list[bytes], bool]:
    """The payloads of a datagram, and whether it ends the dump."""
    payloads: list[bytes] = []
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, _, _, _ = _HEADER.unpack_from(datagram, offset)
        if not _HEADER.size <= length <= len(datagram) - offset:
            raise SourceError("netlink: a message that is cut off")
        payload = datagram[offset + _HEADER.size : offset + length]
        if kind in (_ERROR, _DONE):
            _raise_for(payload)
            return payloads, True
        payloads.append(payload)
        offset += (length + 3) & ~3
    return payloads, False


def _raise_for(payload: bytes) -> None:
    """Both closing messages carry an errno, negated; 0 is success."""
    code = _ERRNO.unpack_from(payload)[0] if len(payload) >= _ERRNO.size else 0
    if code:
        raise OSError(-code, os.strerror(-code))
