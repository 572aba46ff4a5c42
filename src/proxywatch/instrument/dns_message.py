"""The question and the response code of a DNS message in wire format (RFC 1035, RFC 6891).

Only the header, the first question and one OPT record behind it are read. A compression pointer refers to a
name that came earlier in the message; nothing comes before the first question, so a pointer in it is
malformed and is never followed. Names have at most 255 bytes. Malformed input gives None.
"""

import re
from typing import NamedTuple

HEADER = 12
_MOST_BYTES_OF_NAME = 255
_MOST_BYTES_OF_LABEL = 63
_OPT = 41
_OPT_SIZE = 11

TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA",
    29: "LOC", 33: "SRV", 35: "NAPTR", 39: "DNAME", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC",
    48: "DNSKEY", 50: "NSEC3", 52: "TLSA", 53: "SMIMEA", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY",
    64: "SVCB", 65: "HTTPS", 99: "SPF", 250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI",
    257: "CAA",
}  # fmt: skip
"""Names of the types that clients ask for."""

CODES = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN",
    7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 11: "DSOTYPENI", 16: "BADVERS", 17: "BADKEY",
    18: "BADTIME", 19: "BADMODE", 20: "BADNAME", 21: "BADALG", 22: "BADTRUNC", 23: "BADCOOKIE",
}  # fmt: skip
"""Names of the response codes."""

_TYPE_NAMES = frozenset(TYPES.values())
_CODE_NAMES = frozenset(CODES.values())
_PLAIN = re.compile(rb"[A-Za-z0-9_-]*")
_ESCAPED = frozenset(b'"$().;@\\')


class Question(NamedTuple):
    """What a message asks.

    Args:
        message_id: Id of the message.
        domain: Name in lower case without the final dot, special bytes escaped as in zone files; `.` for the
            root.
        type: `A`, `AAAA`, ..., or `TYPE` and a number.
    """

    message_id: int
    domain: str
    type: str


def question(wire: bytes) -> Question | None:
    """The first question of a message; None when there is none or it is malformed."""
    if len(wire) < HEADER or not wire[4] | wire[5]:
        return None
    name = _name(wire)
    if name is None:
        return None
    domain, end = name
    if end + 4 > len(wire):
        return None
    return Question(wire[0] << 8 | wire[1], domain, type_name(wire[end] << 8 | wire[end + 1]))


def response_code(wire: bytes) -> str | None:
    """The response code of a message; None when it is too short to be one.

    Codes above 15 have their upper bits in the OPT record. They are only given in responses without other
    records, which is where it is looked for.
    """
    if len(wire) < HEADER:
        return None
    code = wire[3] & 0x0F
    if not any(wire[6:10]) and wire[10] | wire[11]:
        code |= _extended(wire) << 4
    return code_name(code)


def type_name(number: int) -> str:
    """Name of a type."""
    return TYPES.get(number) or f"TYPE{number}"


def code_name(number: int) -> str:
    """Name of a response code."""
    return CODES.get(number) or f"RCODE{number}"


def type_label(name: str) -> str:
    """A type as a label: its name when it is well known, else `other`."""
    return name if name in _TYPE_NAMES or name == "malformed" else "other"


def code_label(name: str) -> str:
    """A response code as a label: its name when it is well known, else `other`."""
    return name if name in _CODE_NAMES or name in {"none", "malformed"} else "other"


def _name(wire: bytes) -> tuple[str, int] | None:
    """The name of the first question, and the position behind it."""
    labels: list[str] = []
    at, size = HEADER, len(wire)
    while at < size:
        length = wire[at]
        at += 1
        if not length:
            return ".".join(labels) or ".", at
        end = at + length
        if length > _MOST_BYTES_OF_LABEL or end > size or end - HEADER >= _MOST_BYTES_OF_NAME:
            return None
        labels.append(_text(wire[at:end]))
        at = end
    return None


def _text(label: bytes) -> str:
    if _PLAIN.fullmatch(label):
        return label.decode("ascii").lower()
    return "".join(map(_escaped, label.lower()))


def _escaped(byte: int) -> str:
    if byte in _ESCAPED:
        return "\\" + chr(byte)
    return chr(byte) if 0x20 < byte < 0x7F else f"\\{byte:03d}"  # noqa: PLR2004 - printable ASCII


def _extended(wire: bytes) -> int:
    """The upper bits of the response code, from an OPT record that follows the question at once."""
    at = HEADER
    if wire[4] | wire[5]:
        name = _name(wire) if wire[4:6] == b"\0\1" else None
        if name is None:
            return 0
        at = name[1] + 4
    if at + _OPT_SIZE > len(wire) or wire[at] or (wire[at + 1] << 8 | wire[at + 2]) != _OPT:
        return 0
    return wire[at + 5]
