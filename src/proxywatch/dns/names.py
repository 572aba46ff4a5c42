"""Names as people write them and as messages carry them; names that are blocked, and names that stay here."""

from collections.abc import Iterable
from typing import NamedTuple

from proxywatch.dns.message import AAAA, NOERROR, NXDOMAIN, A
from proxywatch.errors import ParseError

_LABEL, _NAME = 63, 255
_LOOPBACK = {A: (b"\x7f\0\0\1",), AAAA: (b"\0" * 15 + b"\1",)}


def to_wire(name: str) -> bytes:
    """A name as a message carries it, in lower case.

    Raises:
        ParseError: Not a host name: an empty or long label, or characters beyond printable ASCII.
    """
    labels = [label.encode() for label in name.removesuffix(".").lower().split(".")]
    if not name.isascii() or not name.isprintable() or " " in name:
        raise ParseError("a name with characters that names do not have")
    if not all(0 < len(label) <= _LABEL for label in labels):
        raise ParseError("a name with an empty or too long label")
    wire = b"".join(len(label).to_bytes(1, "big") + label for label in labels) + b"\0"
    if len(wire) > _NAME:
        raise ParseError("a name that is too long")
    return wire


def to_text(wire: bytes) -> str:
    r"""A name for people: what is not printable ASCII, or would be taken for a dot, is escaped as \DDD."""
    labels, at = [], 0
    while length := wire[at]:
        labels.append("".join(map(_shown, wire[at + 1 : at + 1 + length])))
        at += 1 + length
    return ".".join(labels) + "."


def _shown(byte: int) -> str:
    return chr(byte) if 0x21 <= byte <= 0x7E and byte not in b'.\\"' else f"\\{byte:03}"  # noqa: PLR2004


class Blocked:
    """Names that get no answer, each with everything below it."""

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self._names = frozenset(names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: bytes) -> bool:
        if not self._names:
            return False
        names, at = self._names, 0
        while length := name[at]:
            if name[at:] in names:
                return True
            at += 1 + length
        return False


def read_blocked(lines: Iterable[str], most: int) -> tuple[Blocked, int]:
    """Read a list: a name per line, or the lines of a hosts file (`0.0.0.0 name ...`); `#` begins a comment.

    Returns:
        The list, and how many lines could not be read. Names beyond `most` count as such.
    """
    names: set[bytes] = set()
    bad = 0
    for line in lines:
        words = line[:1024].partition("#")[0].split()
        for word in words[1:] if len(words) > 1 else words:
            try:
                name = to_wire(word.removeprefix("*."))
            except ParseError:
                bad += 1
                continue
            if len(names) < most or name in names:
                names.add(name)
            else:
                bad += 1
    return Blocked(names), bad


class Local(NamedTuple):
    """What is said of a name that stays here."""

    rcode: int
    data: tuple[bytes, ...] = ()


def local(name: bytes, kind: int) -> Local | None:
    """What to say of names that must not be sent to an upstream; None for all others.

    `localhost` is this machine and `invalid` does not exist (RFC 6761); `onion` is not for the DNS
    (RFC 7686); `resolver.arpa` is about the resolver that was asked (RFC 9462).
    """
    last = name[_last_label(name) :]
    if last == b"\x09localhost\0":
        return Local(NOERROR, _LOOPBACK.get(kind, ()))
    if last in {b"\x07invalid\0", b"\x05onion\0"}:
        return Local(NXDOMAIN)
    if last == b"\x04arpa\0" and name.endswith(b"\x08resolver\x04arpa\0"):
        return Local(NOERROR)
    return None


def _last_label(name: bytes) -> int:
    at = before = 0
    while length := name[at]:
        before = at
        at += 1 + length
    return before
