"""What the kernel would answer about a WireGuard device, built from linux/wireguard.h and netlink(7)."""

import socket
import struct
from base64 import b64decode
from ipaddress import ip_address

from proxywatch.wireguard.device import Device, Peer

SECRET = bytes(range(0xC0, 0xE0))
FAMILY = 0x1C
_MULTI = 2


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def message(kind: int, body: bytes, flags: int = _MULTI) -> bytes:
    padded = body + bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 4711) + padded


def done() -> bytes:
    return message(3, struct.pack("=i", 0))


def error(number: int) -> bytes:
    return message(2, struct.pack("=i", -number) + bytes(16), 0)


def family_answer(number: int = FAMILY) -> bytes:
    attributes = attribute(2, b"wireguard\0") + attribute(1, struct.pack("=H", number))
    return message(0x10, struct.pack("=BBH", 1, 2, 0) + attributes, 0)


def device_answer(*parts: Device, continued: str = "") -> bytes:
    """One message per part; `continued` is the key of a peer whose addresses go on in the last message."""
    messages = [message(FAMILY, struct.pack("=BBH", 0, 1, 0) + _device(part)) for part in parts]
    if continued:
        rest = attribute(8 | 0x8000, attribute(0x8000, attribute(1, b64decode(continued)) + _allowed()))
        messages.append(message(FAMILY, struct.pack("=BBH", 0, 1, 0) + rest))
    return b"".join(messages) + done()


def _device(device: Device) -> bytes:
    peers = b"".join(attribute(0x8000, _peer(peer)) for peer in device.peers)
    return (
        attribute(1, struct.pack("=I", 5))
        + attribute(2, b"wg0\0")
        + attribute(3, SECRET)
        + attribute(4, bytes(32))
        + attribute(6, struct.pack("=H", device.listen_port))
        + attribute(7, struct.pack("=I", 0))
        + (attribute(8 | 0x8000, peers) if device.peers else b"")
    )


def _peer(peer: Peer) -> bytes:
    return (
        attribute(1, b64decode(peer.public_key))
        + attribute(2, SECRET)
        + attribute(6, struct.pack("=qq", peer.last_handshake, 254412946))
        + attribute(5, struct.pack("=H", peer.keepalive))
        + attribute(8, struct.pack("=Q", peer.transmit_bytes))
        + attribute(7, struct.pack("=Q", peer.receive_bytes))
        + attribute(10, struct.pack("=I", 1))
        + (attribute(4, _sockaddr(peer.endpoint)) if peer.endpoint else b"")
        + _allowed()
    )


def _allowed() -> bytes:
    one = attribute(1, struct.pack("=H", 2)) + attribute(2, bytes(4)) + attribute(3, b"\0")
    return attribute(9 | 0x8000, attribute(0x8000, one))


def _sockaddr(endpoint: str) -> bytes:
    host, _, port = endpoint.rpartition(":")
    address = ip_address(host.strip("[]"))
    number = struct.pack(">H", int(port))
    if address.version == 4:
        return struct.pack("=H", socket.AF_INET) + number + address.packed + bytes(8)
    return struct.pack("=H", socket.AF_INET6) + number + bytes(4) + address.packed + bytes(4)
