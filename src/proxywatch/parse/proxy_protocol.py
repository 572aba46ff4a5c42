"""The PROXY protocol's header, versions 1 and 2: a load balancer before us tells who the client is.

header(data)    None while it is incomplete; else the client's address (None: the balancer's own check, or
                a family without addresses) and how many bytes it takes
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from proxywatch.errors import ParseError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LONGEST_V1 = 107
_LONGEST_V2 = 2048  # of addresses and TLVs, which nobody reads here
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]{1,5}) ([0-9]{1,5})\r\n")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN[^\r\n]*\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESSES = {0x11: 4, 0x21: 16}
_LARGEST_PORT = 65535


class Source(NamedTuple):
    """The client behind a balancer."""

    host: str
    port: int


def header(data: bytes) -> tuple[Source | None, int] | None:
    """Read a header.

    Raises:
        ParseError: There is none, though one is required of this peer.
    """
    if data[:1] == b"\r":
        return _binary(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _text(data)
    raise ParseError("the connection does not begin with a header of the PROXY protocol")


def _text(data: bytes) -> tuple[Source | None, int] | None:
    end = data.find(b"\r\n", 0, _LONGEST_V1)
    if end < 0:
        if len(data) >= _LONGEST_V1:
            raise ParseError("a header of the PROXY protocol of more than 107 bytes")
        return None
    line = data[: end + 2]
    if _UNKNOWN.fullmatch(line):
        return None, end + 2
    match = _V1.fullmatch(line)
    if not match or max(int(match[4]), int(match[5])) > _LARGEST_PORT:
        raise ParseError("a header of the PROXY protocol that cannot be read")
    family = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source = family(match[2].decode())
        family(match[3].decode())
    except AddressValueError:
        raise ParseError("a header of the PROXY protocol with an address that is none") from None
    return Source(str(source), int(match[4])), end + 2


def _binary(data: bytes) -> tuple[Source | None, int] | None:
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise ParseError("the connection does not begin with a header of the PROXY protocol")
    if len(data) < 16:  # noqa: PLR2004 - the fixed part
        return None
    command, family = data[12], data[13]
    size = int.from_bytes(data[14:16])
    if command not in {_LOCAL, _PROXY} or size > _LONGEST_V2:
        raise ParseError("a header of the PROXY protocol of another version, or too long")
    width = _ADDRESSES.get(family, 0) if command == _PROXY else 0
    if size < 2 * width + (4 if width else 0):
        raise ParseError("a header of the PROXY protocol that is shorter than its addresses")
    end = 16 + size
    if len(data) < end:
        return None
    if not width:
        return None, end
    address = data[16 : 16 + width]
    port = int.from_bytes(data[16 + 2 * width : 18 + 2 * width])
    return Source(str(IPv4Address(address) if width == 4 else IPv6Address(address)), port), end  # noqa: PLR2004
