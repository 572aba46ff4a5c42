"""SOCKS5 (RFC 1928), its user and password (RFC 1929), its UDP header, SOCKS4 and SOCKS4a; both sides.

Nothing here reads or writes. A reader is given all bytes that have come and not been taken yet; it answers
None while its message is incomplete, else the message and how many bytes it takes; what follows them is the
next message or payload, and stays. A message ends where its lengths say, so each has exactly one reading,
whether it comes byte by byte or glued to the next.

Toward clients: `greeting`, `credentials`, `request`, `request4` read; `reply`, `reply4` write.
Toward nodes: `hello`, `login`, `connect` write; `choice`, `verdict`, `answer` read.
"""

from functools import lru_cache
from typing import NamedTuple

from proxywatch.errors import ParseError
from proxywatch.parse.host import canonical, packed

CONNECT, BIND, UDP_ASSOCIATE = 1, 2, 3
NO_LOGIN, PASSWORD, NOTHING_SUITS = 0, 2, 0xFF

GRANTED, GENERAL, FORBIDDEN, NETWORK, HOST, REFUSED, EXPIRED, NO_COMMAND, NO_ADDRESS_TYPE = range(9)
GRANTED4, REJECTED4 = 0x5A, 0x5B

_V4, _NAME, _V6 = 1, 3, 4
_LONGEST4 = 256  # of a user id or a name of SOCKS4, its closing zero included
_LENGTHS = {_V4: 4, _V6: 16}
_NOWHERE = b"\x01\0\0\0\0\0\0"


class Request(NamedTuple):
    """What a client asks for.

    Attributes:
        command: CONNECT, BIND, UDP_ASSOCIATE, or another number that nobody serves.
        host: In canonical form; `parse.host`.
        port: 0 to 65535; 0 is for UDP ASSOCIATE.
        user: The user id of SOCKS4; empty for SOCKS5, which has it in its credentials.
    """

    command: int
    host: str
    port: int
    user: bytes = b""


class Answer(NamedTuple):
    """A reply of SOCKS5: its code, and the address that the server tells of (BND)."""

    code: int
    host: str
    port: int


_UNBOUND = tuple(Answer(code, "0.0.0.0", 0) for code in range(256))


class Datagram(NamedTuple):
    """The header of a relayed datagram, and where its payload begins."""

    host: str
    port: int
    start: int


def greeting(data: bytes) -> tuple[bytes, int] | None:
    """The methods that a client offers."""
    if data[:1] not in {b"", b"\5"}:
        raise ParseError("this is not SOCKS version 5")
    if len(data) < 2 or len(data) < 2 + data[1]:  # noqa: PLR2004 - version and count
        return None
    end = 2 + data[1]
    return data[2:end], end


def credentials(data: bytes) -> tuple[tuple[bytes, bytes], int] | None:
    """User and password, each of 0 to 255 bytes: clients do send empty ones."""
    if data[:1] not in {b"", b"\1"}:
        raise ParseError("this is not version 1 of SOCKS5's user and password")
    size = len(data)
    if size < 2:  # noqa: PLR2004 - version and length
        return None
    middle = 2 + data[1]
    if size <= middle:
        return None
    end = middle + 1 + data[middle]
    if size < end:
        return None
    return (data[2:middle], data[middle + 1 : end]), end


def request(data: bytes) -> tuple[Request, int] | None:
    """What a SOCKS5 client asks for, or None."""
    if len(data) >= 10 and data[0] == 5 and data[3] == _V4:  # noqa: PLR2004 - the short form of what follows
        _, command, _, _, a, b, c, d, high, low = data[:10]
        return Request(command, f"{a}.{b}.{c}.{d}", high << 8 | low), 10
    if data[:1] not in {b"", b"\5"}:
        raise ParseError("the request is not of SOCKS version 5")
    place = _address(data, 3)
    if place is None:
        return None
    host, port, end = place
    return Request(data[1], host, port), end


def answer(data: bytes) -> tuple[Answer, int] | None:
    """What a node replies to a request. Its address is kept as it is: nobody dials it by name."""
    if data[:1] not in {b"", b"\5"}:
        raise ParseError("the node's reply is not of SOCKS version 5")
    if len(data) >= 10 and data[3] == _V4:  # noqa: PLR2004 - nearly all replies
        if data[4:10] == _NOWHERE[1:]:
            return _UNBOUND[data[1]], 10
        a, b, c, d = data[4:8]
        return Answer(data[1], f"{a}.{b}.{c}.{d}", data[8] << 8 | data[9]), 10
    if len(data) > 3 and data[3] == _NAME:  # noqa: PLR2004 - where the type stands
        end = 7 + data[4] if len(data) > 4 else len(data) + 1  # noqa: PLR2004 - where the length stands
        return None if len(data) < end else (Answer(data[1], "", int.from_bytes(data[end - 2 : end])), end)
    place = _address(data, 3)
    if place is None:
        return None
    host, port, end = place
    return Answer(data[1], host, port), end


def choice(data: bytes) -> tuple[int, int] | None:
    """The method that a node chose."""
    if data == b"\5\0":  # the short form of what follows
        return NO_LOGIN, 2
    return _pair(data, 5, "the node does not speak SOCKS version 5")


def verdict(data: bytes) -> tuple[int, int] | None:
    """What a node says to user and password: 0 is yes."""
    # RFC 1929 has version 1 here; some servers answer with 5.
    if data[:1] == b"\5":
        return _pair(data, 5, "")
    return _pair(data, 1, "the node's answer to the login is not of version 1")


def request4(data: bytes) -> tuple[Request, int] | None:
    """What a SOCKS4 or SOCKS4a client asks for."""
    if data[:1] not in {b"", b"\4"}:
        raise ParseError("this is not SOCKS version 4")
    if len(data) < 9:  # noqa: PLR2004 - eight bytes and the user's closing zero
        return None
    taken = _text(data, 8, "user id")
    if taken is None:
        return None
    user, end = taken
    address = data[4:8]
    host = ".".join(map(str, address))
    if address[:3] == b"\0\0\0" and address[3]:
        taken = _text(data, end, "name")
        if taken is None:
            return None
        name, end = taken
        host = canonical(_ascii(name))
    return Request(data[1], host, data[2] << 8 | data[3], user), end


def datagram(data: bytes) -> Datagram:
    """The header of a datagram.

    Raises:
        ParseError: It is none, is cut, or is a fragment, which nobody puts together.
    """
    if len(data) < 4 or data[:2] != b"\0\0":  # noqa: PLR2004 - up to the type
        raise ParseError("the datagram has no SOCKS header")
    if data[2]:
        raise ParseError("the datagram is a fragment")
    place = _address(data, 3)
    if place is None:
        raise ParseError("the datagram's header is cut")
    return Datagram(*place)


def datagram_header(host: str, port: int) -> bytes:
    """The header of a datagram to or from an address."""
    return b"\0\0\0" + encode(host, port)


def reply(code: int, host: str = "0.0.0.0", port: int = 0) -> bytes:
    """A reply of SOCKS5 to a client; the address is told after UDP ASSOCIATE alone."""
    if host == "0.0.0.0" and port == 0:
        return b"\5" + bytes((code,)) + b"\0" + _NOWHERE
    return b"\5" + bytes((code, 0)) + encode(host, port)


def reply4(code: int) -> bytes:
    """A reply of SOCKS4 to a client: GRANTED4 or REJECTED4."""
    return b"\0" + bytes((code,)) + b"\0\0\0\0\0\0"


def hello(*, login: bool) -> bytes:
    """Offer a node the one method that is meant."""
    return b"\5\1\2" if login else b"\5\1\0"


def login(user: bytes, password: bytes) -> bytes:
    """User and password for a node."""
    longest = max(len(user), len(password))
    if longest > 255:  # noqa: PLR2004 - a byte of length
        raise ParseError("a user or password of more than 255 bytes")
    return b"\1" + bytes((len(user),)) + user + bytes((len(password),)) + password


def connect(host: str, port: int, command: int = CONNECT) -> bytes:
    """Ask a node for a destination in canonical form."""
    return b"\5%c\0%b%c%c" % (command, _encoded(host), port >> 8, port & 255)


def encode(host: str, port: int) -> bytes:
    """Type, address and port; an address as an address, anything else as a name."""
    return _encoded(host) + port.to_bytes(2)


@lru_cache(maxsize=4096)
def _encoded(host: str) -> bytes:
    address = packed(host)
    if address is None:
        name = host.encode("ascii")
        return bytes((_NAME, len(name))) + name
    return bytes((_V4 if len(address) == _LENGTHS[_V4] else _V6,)) + address


def _address(data: bytes, at: int) -> tuple[str, int, int] | None:
    """Host, port and end of what begins with a type at this place."""
    if len(data) < at + 2:
        return None
    kind = data[at]
    if kind == _NAME:
        start = at + 2
        end = start + data[at + 1]
    elif kind in _LENGTHS:
        start = at + 1
        end = start + _LENGTHS[kind]
    else:
        raise ParseError(f"unknown address type {kind}")
    if len(data) < end + 2:
        return None
    port = data[end] << 8 | data[end + 1]
    if kind == _V4:
        a, b, c, d = data[start:end]
        return f"{a}.{b}.{c}.{d}", port, end + 2
    if kind == _NAME:
        return canonical(_ascii(data[start:end])), port, end + 2
    words = data[start:end].hex(":", 2)
    return canonical(words), port, end + 2


def _pair(data: bytes, version: int, complaint: str) -> tuple[int, int] | None:
    if data and data[0] != version:
        raise ParseError(complaint)
    return (data[1], 2) if len(data) > 1 else None


def _text(data: bytes, start: int, what: str) -> tuple[bytes, int] | None:
    """What ends with a zero byte."""
    end = data.find(b"\0", start, start + _LONGEST4)
    if end >= 0:
        return data[start:end], end + 1
    if len(data) >= start + _LONGEST4:
        raise ParseError(f"a {what} of more than {_LONGEST4 - 1} bytes")
    return None


def _ascii(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError:
        raise ParseError("the destination's name is not ASCII: international names go as `xn--`") from None
