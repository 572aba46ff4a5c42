"""The kernel's WireGuard by generic netlink: requests to send, answers to read (linux/wireguard.h).

An answer is a row of messages, each a netlink header (length, type, flags, sequence, port), a generic header
(command, version) and attributes (length, type, payload, padded to four bytes), some of which nest others.
A device with many peers comes in several messages, and a peer whose addresses do not fit is continued in the
next one under the same key. Secrets are walked over and never touched.
"""

import errno
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from proxywatch.errors import ParseError, SourceError
from proxywatch.wireguard.device import Device, Peer, base64_key

_CONTROL, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 0x10, 3, 1, 2
_GET_DEVICE, _IFNAME, _LISTEN_PORT, _PEERS = 0, 2, 6, 8
_PUBLIC_KEY, _ENDPOINT, _KEEPALIVE, _HANDSHAKE, _RECEIVED, _TRANSMITTED = 1, 4, 5, 6, 7, 8
_ERROR, _DONE = 2, 3
_VERSION = 1
_REQUEST, _DUMP = 0x1, 0x300
_TYPE_MASK = 0x3FFF
_HEAD = struct.Struct("=IHHII")
_GENERIC = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_KEY_LENGTH = 32
_INET, _INET6 = 2, 10
_WORDS = {
    errno.EPERM: "not permitted: the kernel tells its WireGuard devices only to NET_ADMIN",
    errno.ENOENT: "this kernel has no WireGuard (its module is not loaded)",
    errno.ENODEV: "the kernel has no such device",
    errno.EOPNOTSUPP: "the device is not the kernel's WireGuard",
}
_PERMANENT = {errno.EPERM, errno.EACCES}


def family_request(name: str) -> bytes:
    """Ask which number a family of generic netlink has."""
    return _request(_CONTROL, _REQUEST, _GET_FAMILY, _FAMILY_NAME, name)


def device_request(family: int, device: str) -> bytes:
    """Ask for everything about a device and its peers."""
    return _request(family, _REQUEST | _DUMP, _GET_DEVICE, _IFNAME, device)


def parse_family(content: memoryview) -> int:
    """The number in the answer to `family_request`.

    Raises:
        SourceError: The kernel's refusal, in words.
        ParseError: Not such an answer.
    """
    for message in _messages(content):
        for kind, payload in _attributes(message):
            if kind == _FAMILY_ID:
                return _integer(payload, 2)
    raise ParseError("netlink: a family without a number")


def parse_device(content: memoryview) -> Device:
    """The device in the answer to `device_request`.

    Raises:
        SourceError: The kernel's refusal, in words.
        ParseError: Not such an answer; the message quotes nothing.
    """
    port = 0
    peers: dict[str, Peer] = {}
    for message in _messages(content):
        for kind, payload in _attributes(message):
            if kind == _LISTEN_PORT:
                port = _integer(payload, 2)
            elif kind == _PEERS:
                for _, nested in _attributes(payload):
                    peer = _peer(dict(_attributes(nested)))
                    peers.setdefault(peer.public_key, peer)
    return Device(port, tuple(peers[key] for key in sorted(peers)))


def _request(kind: int, flags: int, command: int, attribute: int, value: str) -> bytes:
    text = value.encode() + b"\0"
    payload = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), attribute) + text + bytes(-len(text) % 4)
    body = _GENERIC.pack(command, _VERSION, 0) + payload
    return _HEAD.pack(_HEAD.size + len(body), kind, flags, 1, 0) + body


def _messages(content: memoryview) -> Iterator[memoryview]:
    """The attributes of each message, up to the end of the answer."""
    while content:
        if len(content) < _HEAD.size:
            raise ParseError("netlink: a message cut short")
        length, kind, *_ = _HEAD.unpack_from(content)
        if not _HEAD.size <= length <= len(content):
            raise ParseError("netlink: a message of an impossible length")
        body = content[_HEAD.size : length]
        if kind in (_ERROR, _DONE):
            _refuse(body)
            return
        if len(body) < _GENERIC.size:
            raise ParseError("netlink: a message without a command")
        yield body[_GENERIC.size :]
        content = content[_aligned(length) :]


def _refuse(body: memoryview) -> None:
    """Raise the error that ends an answer, if it is one."""
    number = -_integer(body[:4], 4, signed=True) if len(body) >= 4 else 0  # noqa: PLR2004 - an int of C
    if number:
        words = _WORDS.get(number) or f"the kernel answered {errno.errorcode.get(number, str(number))}"
        raise SourceError(f"netlink: {words}", temporary=number not in _PERMANENT)


def _attributes(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    while len(content) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(content)
        if not _ATTRIBUTE.size <= length <= len(content):
            raise ParseError("netlink: an attribute of an impossible length")
        yield kind & _TYPE_MASK, content[_ATTRIBUTE.size : length]
        content = content[_aligned(length) :]


def _peer(attributes: dict[int, memoryview]) -> Peer:
    key = attributes.get(_PUBLIC_KEY, memoryview(b""))
    if len(key) != _KEY_LENGTH:
        raise ParseError("netlink: a peer without a key")
    zero = memoryview(bytes(8))
    handshake = attributes.get(_HANDSHAKE, zero)
    return Peer(
        base64_key(key),
        _endpoint(attributes[_ENDPOINT]) if _ENDPOINT in attributes else None,
        max(0, _integer(handshake[:8], 8, signed=True)),
        _integer(attributes.get(_RECEIVED, zero), 8),
        _integer(attributes.get(_TRANSMITTED, zero), 8),
        _integer(attributes.get(_KEEPALIVE, zero[:2]), 2),
    )


def _endpoint(address: memoryview) -> str | None:
    """A `struct sockaddr_in` or `sockaddr_in6` in words: family, port, then the address."""
    family = int.from_bytes(address[:2], sys.byteorder)
    port = int.from_bytes(address[2:4], "big")
    if family == _INET and len(address) >= 8:  # noqa: PLR2004 - up to the end of the address
        return f"{IPv4Address(bytes(address[4:8]))}:{port}"
    if family == _INET6 and len(address) >= 24:  # noqa: PLR2004 - the same, after the flow
        return f"[{IPv6Address(bytes(address[8:24]))}]:{port}"
    return None


def _integer(payload: memoryview, length: int, *, signed: bool = False) -> int:
    if len(payload) != length:
        raise ParseError("netlink: a number of another width")
    return int.from_bytes(payload, sys.byteorder, signed=signed)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
