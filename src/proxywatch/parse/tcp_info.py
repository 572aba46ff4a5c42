"""A TCP connection as the kernel's socket diagnostics describe it: a row of a dump, or the report of its end.

Both have one shape (include/uapi/linux/inet_diag.h and tcp.h), in the machine's byte order but for the ports:

    row:        family, state, timer, retransmits: 4 x u8; identity: local port, remote port: 2 x u16, local
                and remote address: 2 x 16 bytes, interface: u32, cookie: 8 bytes; expires, receive queue,
                send queue, uid, inode: 5 x u32
    attributes: length with this header, type: 2 x u16; then the value, padded to 4 bytes. INET_DIAG_INFO is
                `struct tcp_info`, whose tail is missing on older kernels; INET_DIAG_CGROUP_ID is u64

The cookie names a socket for as long as it lives. A report has state 7, and no uid and inode any
more. Its remote port is 0 when the socket was never connected, or was disconnected: by a reset of our side's
making (SO_LINGER of 0), or after a dial that failed. Then its counters are 0 too.

SYN and FIN count one byte each in what was acknowledged and received. So on a connection that was opened
here, `acked - sent` is 2 after an orderly end and less after a reset; on one that was accepted, 1 and less.
"""

import struct
from typing import NamedTuple

from proxywatch.errors import ParseError
from proxywatch.parse.inet_diag import IPV4, IPV6

LISTEN = 10
SYN_SENT = 2
NO_ROUND_TRIP = 0xFFFFFFFF
WANTED = 1 << (2 - 1)
"""The extension to ask for in a request: INET_DIAG_INFO."""

_SWAPPED = struct.Struct("!BB2xHH16s16s4x8s")
_NATIVE = struct.Struct("=64xII")
_ATTRIBUTES = 72
_ATTRIBUTE = struct.Struct("=HH")
_INFO, _CGROUP_ID = 2, 21
_MAPPED = bytes(10) + b"\xff\xff"
_TCP_INFO = struct.Struct("=60xI4xI28xI16xQQII4xI8xQ32xQQ8xI")
_CGROUP = struct.Struct("=Q")
# Where fields end that older kernels do not have.
_RECEIVED, _MINIMUM, _RATE, _SENT, _ORDER = 136, 152, 168, 216, 228


class Row(NamedTuple):
    """Whose connection it is.

    Attributes:
        state: The kernel's number.
        local: Address, 4 or 16 bytes; an IPv4 address within IPv6 has 4.
        local_port: 0 for a socket that was never bound.
        remote: As `local`.
        remote_port: 0 for one that listens, or is not connected (any more).
        cookie: Names the socket.
        uid: Of the process that made it; 0 in a report.
        inode: 0 in a report.
    """

    state: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    cookie: bytes
    uid: int
    inode: int


class Counters(NamedTuple):
    """What `struct tcp_info` counts.

    Attributes:
        mtu: Path MTU; 0 for a socket that never tried to connect.
        round_trip: Smoothed, in microseconds; 0 for none.
        minimum: The least round trip in microseconds; NO_ROUND_TRIP when nothing ever came back, 0 where the
            kernel does not tell (before Linux 4.6).
        retransmitted: Segments that were sent again.
        acked: Bytes acknowledged by the other side, SYN and FIN included.
        received: Bytes received in order, FIN included.
        segments: Segments sent, those without payload included.
        segments_received: The same the other way.
        rate: Bytes a second that the last measurement delivered; 0 for none.
        sent: Bytes of payload sent, each counted once; None where the kernel does not tell (before 4.19).
        out_of_order: Segments that came before an earlier one; 0 before Linux 5.4.
    """

    mtu: int
    round_trip: int
    minimum: int
    retransmitted: int
    acked: int
    received: int
    segments: int
    segments_received: int
    rate: int
    sent: int | None
    out_of_order: int

    @property
    def answered(self) -> bool:
        """Whether the other side ever answered: the connection was established."""
        return self.acked > 0 or self.received > 0 or 0 < self.minimum < NO_ROUND_TRIP


def row(payload: bytes) -> Row:
    """Whose connection a row or report is about.

    Raises:
        ParseError: Too short, or of another family.
    """
    try:
        family, state, local_port, remote_port, local, remote, cookie = _SWAPPED.unpack_from(payload)
        uid, inode = _NATIVE.unpack_from(payload)
    except struct.error as error:
        raise ParseError(f"inet_diag: a row of {len(payload)} bytes") from error
    if family == IPV4:
        local, remote = local[:4], remote[:4]
    elif family == IPV6:
        local, remote = _plain(local), _plain(remote)
    else:
        raise ParseError(f"inet_diag: the address family {family} is not known")
    return Row(state, local, local_port, remote, remote_port, cookie, uid, inode)


def counters(payload: bytes) -> Counters | None:
    """What it has counted; None where the row does not say, as for a socket in TIME_WAIT.

    Raises:
        ParseError: Attributes that are cut off, or a kernel before Linux 4.2, which counts no bytes.
    """
    info = _attribute(payload, _INFO)
    if info is None:
        return None
    size = len(info)
    if size < _ORDER:
        if size < _RECEIVED:
            raise ParseError(f"tcp_info: {size} bytes, without counts of bytes")
        info += bytes(_ORDER - size)
    (
        mtu, round_trip, retransmitted, acked, received, segments, segments_received, minimum, rate,
        sent, again, out_of_order,
    ) = _TCP_INFO.unpack_from(info)  # fmt: skip
    payload_sent = max(sent - again, 0) if size >= _SENT else None
    return Counters(
        mtu, round_trip, minimum, retransmitted, acked, received, segments, segments_received, rate,
        payload_sent, out_of_order,
    )  # fmt: skip


def cgroup(payload: bytes) -> int | None:
    """The id of the control group whose process made the socket; None where the row does not say.

    Raises:
        ParseError: Attributes that are cut off.
    """
    value = _attribute(payload, _CGROUP_ID)
    return _CGROUP.unpack_from(value)[0] if value is not None and len(value) >= _CGROUP.size else None


def _attribute(payload: bytes, wanted: int) -> bytes | None:
    offset, end = _ATTRIBUTES, len(payload)
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if not _ATTRIBUTE.size <= length <= end - offset:
            raise ParseError("inet_diag: an attribute that is cut off")
        if kind == wanted:
            return payload[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return None


def _plain(address: bytes) -> bytes:
    return address[12:] if address.startswith(_MAPPED) else address
