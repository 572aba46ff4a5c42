"""Rows of inet_diag and reports of ended sockets: recorded ones by what had happened, and made ones."""

import json
import socket
import struct
from pathlib import Path

_FIXTURE = Path(__file__).parents[1] / "fixtures" / "sockets" / "tcp_reports.json"
RECORDED: dict[str, list[bytes]] = {
    name: [bytes.fromhex(row) for row in rows] for name, rows in json.loads(_FIXTURE.read_text()).items()
}
"""From Linux 6.18. Payload: 5,000 bytes from the opener; 7,000 back, 10,000 where 3,000 were not read."""

LISTEN, ESTABLISHED, SYN_SENT, CLOSED = 10, 1, 2, 7


def row(
    local: tuple[str, int],
    remote: tuple[str, int] = ("0.0.0.0", 0),
    *,
    cookie: int = 1,
    state: int = CLOSED,
    uid: int = 0,
    inode: int = 0,
    cgroup: int | None = None,
    info: bytes | None = None,
) -> bytes:
    """One, as the kernel would write it."""
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    addresses = [socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (local, remote)]
    fixed = struct.pack("!BB2xHH16s16s4x", family, state, local[1], remote[1], *addresses)
    fixed += struct.pack("=Q", cookie) + struct.pack("=IIIII", 0, 0, 0, uid, inode)
    attributes = attribute(10, b"\6")
    if info is not None:
        attributes += attribute(2, info)
    if cgroup is not None:
        attributes += attribute(21, struct.pack("=Q", cgroup))
    return fixed + attributes


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def info(
    *,
    sent: int = 0,
    received: int = 0,
    dialled: bool = False,
    fin: bool = True,
    answered: bool = True,
    round_trip: int = 1000,
    minimum: int = 500,
    segments: int = 10,
    retransmitted: int = 0,
    segments_received: int = 10,
    out_of_order: int = 0,
    rate: int = 0,
    mtu: int = 1500,
    size: int = 280,
) -> bytes:
    """A `struct tcp_info` of a connection that moved so much payload."""
    whole = bytearray(280)
    acked = sent + dialled + fin if answered else 0
    for form, offset, value in (
        ("=I", 60, mtu), ("=I", 68, round_trip if answered else 0), ("=I", 100, retransmitted),
        ("=Q", 120, acked), ("=Q", 128, received), ("=I", 136, segments), ("=I", 140, segments_received),
        ("=I", 148, minimum if answered else 0xFFFFFFFF), ("=Q", 160, rate), ("=Q", 200, sent),
        ("=I", 224, out_of_order),
    ):  # fmt: skip
        struct.pack_into(form, whole, offset, value)
    return bytes(whole[:size])


def zeroed() -> bytes:
    """After a reset of our own making: nothing is left but that it once was established."""
    return info(round_trip=0, segments=0, segments_received=0, fin=False)
