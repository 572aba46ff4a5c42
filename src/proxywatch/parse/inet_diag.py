"""The kernel's listing of sockets by inet_diag (sock_diag(7); include/uapi/linux/inet_diag.h).

The request names states and a local port, and the kernel drops what does not match before it writes a row:
ten thousand sockets in TIME_WAIT cost it a glance each, and us nothing.

    request:  family, protocol, extensions, pad: 4 x u8; states: u32; then the socket's identity of 48 bytes,
              of which the local port, big-endian, comes first
    row:      family, state, timer, retransmits: 4 x u8; identity of 48 bytes; expires, receive queue, send
              queue, uid, inode: 5 x u32; then attributes
"""

import struct

from proxywatch.errors import ParseError
from proxywatch.parse import tcp_socket
from proxywatch.parse.tcp_socket import HELD, STATES, Socket

IPV4, IPV6 = 2, 10
_TCP = 6
_REQUEST = struct.Struct("=BBBxI")
_IDENTITY = struct.Struct("!H46x")
_ROW = struct.Struct("=xB54xI8xI")
LISTENING = 1 << STATES.index("listen") + 1
"""The states of `request` that the kernel finds without a walk through all connections of the host."""
CONNECTED = sum(1 << number for number, name in enumerate(STATES, 1) if name in {*HELD, "syn_recv"})
"""All states of an accepted connection, but for TIME_WAIT."""


def request(family: int, port: int, states: int = LISTENING | CONNECTED, extensions: int = 0) -> bytes:
    """Ask for the TCP sockets of a local port.

    Args:
        family: IPV4 or IPV6.
        port: The local port; 0 for all.
        states: LISTENING, CONNECTED, or both.
        extensions: What each row is to hold besides, a bit for each attribute.
    """
    return _REQUEST.pack(family, _TCP, extensions, states) + _IDENTITY.pack(port)


def parse(row: bytes) -> Socket:
    """One row.

    Raises:
        ParseError: Too short, or of an unknown state.
    """
    try:
        number, queue, inode = _ROW.unpack_from(row)
    except struct.error as error:
        raise ParseError(f"inet_diag: a row of {len(row)} bytes") from error
    return Socket(tcp_socket.state(number), inode, queue)
