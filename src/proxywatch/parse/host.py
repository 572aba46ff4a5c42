"""A destination's host as clients write it, in the one form in which rules, deny lists and nodes see it.

Addresses come in many spellings, and whoever resolves a name may accept all of them: `127.0.0.1`, `127.1`,
`2130706433`, `0x7f.0.0.1`, `0177.0.0.1`, `[::1]`, `::ffff:127.0.0.1`. Each of these is the address that it
means, never a name. What is left is a name: lower case, without the dot at its end.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from proxywatch.errors import ParseError

LONGEST = 255
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_LABEL = 63
# A last label of these forms makes the whole an IPv4 address or nothing at all, never a name.
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_DOTTED = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!$)|$)){4}")


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The host in its one form: an address in canonical form without brackets, or a name in lower case.

    IPv6 addresses that hold an IPv4 one (`::ffff:192.0.2.1`) become the latter.

    Raises:
        ParseError: It is neither.
    """
    host = text.lower()
    if host.startswith("[") or ":" in host:
        return _ipv6(host)
    host = host.removesuffix(".")
    if _DOTTED.fullmatch(host):
        return host
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _ipv4(host)
    if len(host) > LONGEST or not _NAME.fullmatch(host):
        raise ParseError("the destination is neither a name nor an address")
    if any(not label or len(label) > _LABEL for label in host.split(".")):
        raise ParseError("the destination's name has a label that is empty or longer than 63 characters")
    return host


def packed(host: str) -> bytes | None:
    """A canonical host's 4 or 16 bytes; None for a name."""
    if ":" in host:
        return IPv6Address(host).packed
    if _DOTTED.fullmatch(host):
        return bytes(map(int, host.split(".")))
    return None


def _ipv6(host: str) -> str:
    if host.startswith("["):
        if not host.endswith("]"):
            raise ParseError("the destination has a bracket that is not closed")
        host = host[1:-1]
    if len(host) > LONGEST or "%" in host:
        raise ParseError("the destination is an IPv6 address with a zone, which means nothing elsewhere")
    try:
        address = IPv6Address(host)
    except (AddressValueError, ValueError):
        raise ParseError("the destination is no IPv6 address") from None
    return str(address.ipv4_mapped or address)


def _ipv4(host: str) -> str:
    """As `inet_aton` reads it: one to four numbers, decimal, octal or hexadecimal; the last fills up."""
    parts = host.split(".")
    if len(parts) > 4 or len(host) > 64:  # noqa: PLR2004 - four parts, of at most 16 digits
        raise ParseError("the destination is no IPv4 address")
    numbers = [_number(part) for part in parts]
    *first, last = numbers
    if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):  # noqa: PLR2004 - octets
        raise ParseError("the destination is no IPv4 address")
    value = last
    for place, number in enumerate(first):
        value |= number << (24 - 8 * place)
    return str(IPv4Address(value))


def _number(part: str) -> int:
    if not _NUMBER.fullmatch(part):
        raise ParseError("the destination is no IPv4 address")
    try:
        if part.startswith("0x"):
            return int(part[2:] or "0", 16)
        return int(part, 8 if part.startswith("0") else 10)
    except ValueError:
        raise ParseError("the destination is no IPv4 address") from None
