"""DNS messages, as far as a forwarder has to understand them (RFC 1035, 2181, 6891).

A message is a header of 12 bytes, one question, and records in three sections. The rules here:

- A query or response has exactly one question, and the name in it is never compressed.
- A compression pointer must point to before the name that it is in. So names cannot loop, and reading one
  takes at most 127 labels and 127 pointers, whatever the message. The whole message is read once.
- A name has at most 255 bytes on the wire, a label at most 63. Label types other than these are refused.
- A message has at most one OPT record, in its additional section, owned by the root.
- Data names of types that may be compressed must end where their record ends.

Everything else is a ParseError. The cost is linear in the message's length.
"""

from collections.abc import Iterator
from struct import Struct, error
from typing import NamedTuple

from proxywatch.errors import ParseError

HEADER = Struct("!HHHHHH")
_FIXED = Struct("!HHIH")  # type, class, TTL, length of the data
_TWO = Struct("!HH")
HEADER_SIZE = 12
LARGEST = 65535

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE, RCODE = 0x7800, 0x000F
DO = 0x8000

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

A, NS, CNAME, SOA, PTR, MX, AAAA, SRV, DNAME, OPT, RRSIG = 1, 2, 5, 6, 12, 15, 28, 33, 39, 41, 46
IN = 1
ANSWER, AUTHORITY, ADDITIONAL = 0, 1, 2

EDNS_SIZE = 1232
"""What we announce and the most that we send in a datagram: no fragments on any usual path."""

_NAME_LIMIT = 255
_POINTER_LIMIT = 127
_POINTER, _LABEL_TYPE = 0xC0, 0xC0
_PLAIN_SIZE = 512

# Data of types that may be compressed: bytes before the names, how many names, bytes after them.
_NAMES_IN_DATA = {
    NS: (0, 1, 0), CNAME: (0, 1, 0), PTR: (0, 1, 0), DNAME: (0, 1, 0), MX: (2, 1, 0), SRV: (6, 1, 0),
    SOA: (0, 2, 20),
}  # fmt: skip
_DATA_SIZES = {A: 4, AAAA: 16}


class Question(NamedTuple):
    """What makes two questions the same, and thereby the key of the cache.

    Attributes:
        name: On the wire, without compression, in lower case.
        type: Record type.
        klass: Record class.
        do: Whether DNSSEC records are wanted.
        cd: Whether the upstream should leave validation to the asker.
    """

    name: bytes
    type: int
    klass: int
    do: bool = False
    cd: bool = False


class Query(NamedTuple):
    """A client's query.

    Attributes:
        id: To be repeated in the reply.
        flags: The second word of the header.
        asked: The question's name on the wire, in the client's spelling.
        question: The question.
        size: The largest datagram that the client takes; at least 512.
        edns: The EDNS version, None without EDNS.
    """

    id: int
    flags: int
    asked: bytes
    question: Question
    size: int
    edns: int | None


class Record(NamedTuple):
    """A record, by its places in the message."""

    section: int
    start: int
    owner: bytes
    type: int
    klass: int
    ttl: int
    ttl_at: int
    data_at: int
    end: int


class Response(NamedTuple):
    """An upstream's response.

    Attributes:
        wire: The message without its OPT record and whatever followed it.
        flags: The second word of its header.
        rcode: With the upper bits from the OPT record.
        records: All that `wire` holds.
    """

    wire: bytes
    flags: int
    rcode: int
    records: tuple[Record, ...]


def is_query(wire: bytes) -> bool:
    """Whether this may be answered at all: a header of its own, which does not say that it is a response."""
    return len(wire) >= HEADER_SIZE and not wire[2] & 0x80


def parse_query(wire: bytes) -> Query:
    """Read a query of a client.

    Raises:
        ParseError: Not a standard query with one question; the reply is FORMERR.
    """
    if len(wire) < HEADER_SIZE:
        raise ParseError("shorter than a header")
    ident, flags, questions, answers, authorities, additionals = HEADER.unpack_from(wire)
    if questions != 1:
        raise ParseError("expected one question")
    end = _plain_name_end(wire, HEADER_SIZE)
    if end + 4 > len(wire):
        raise ParseError("the question is cut short")
    asked = wire[HEADER_SIZE:end]
    kind, klass = _TWO.unpack_from(wire, end)
    size, edns, do = _PLAIN_SIZE, None, False
    if answers or authorities or additionals:
        for record in _records(wire, end + 4, (answers, authorities, additionals)):
            if record.type == OPT:
                size, edns, do = (
                    max(_PLAIN_SIZE, record.klass),
                    record.ttl >> 16 & 0xFF,
                    bool(record.ttl & DO),
                )
    return Query(ident, flags, asked, Question(asked.lower(), kind, klass, do, bool(flags & CD)), size, edns)


def build_query(ident: int, question: Question, spelling: bytes | None = None, *, edns: bool = True) -> bytes:
    """A query to an upstream, which asks for recursion, and for the AD bit."""
    head = HEADER.pack(ident, RD | AD | (CD if question.cd else 0), 1, 0, 0, 1 if edns else 0)
    body = (spelling or question.name) + _TWO.pack(question.type, question.klass)
    return head + body + (opt(do=question.do) if edns else b"")


def opt(*, do: bool, upper: int = 0, option: bytes = b"") -> bytes:
    """An OPT record of ours; `upper` are the upper bits of the response code."""
    return b"\0" + _FIXED.pack(OPT, EDNS_SIZE, upper << 24 | (DO if do else 0), len(option)) + option


def answers(wire: bytes, ident: int, question: Question, spelling: bytes | None = None) -> bool:
    """Whether the message says that it responds to this query.

    With a spelling, the name has to be spelled so; that is harder to forge (0x20).
    """
    if len(wire) < HEADER_SIZE:
        return False
    its, flags, questions, *_ = HEADER.unpack_from(wire)
    if its != ident or not flags & QR or flags & OPCODE or questions != 1:
        return False
    end = HEADER_SIZE + len(question.name)
    name = wire[HEADER_SIZE:end]
    same = name == spelling if spelling else name.lower() == question.name
    return same and wire[end : end + 4] == _TWO.pack(question.type, question.klass)


def parse_response(wire: bytes, question: Question) -> Response:
    """Read a response for which `answers` holds.

    Records after the OPT record are left out: they are additional, and moving them would break pointers.

    Raises:
        ParseError: It does not follow the format, or answers with records of a name that was not asked for.
    """
    _, flags, _, *counts = HEADER.unpack_from(wire)
    position = HEADER_SIZE + len(question.name) + 4
    end, rcode, kept, seen_opt = position, flags & RCODE, [], False
    for record in _records(wire, position, counts):
        if record.type == OPT:
            rcode |= record.ttl >> 24 << 4
            seen_opt = True
        elif not seen_opt:
            _check_data(wire, record)
            kept.append(record)
            end = record.end
    _check_chain(wire, kept, question)
    numbers = [sum(record.section == section for record in kept) for section in range(3)]
    head = wire[:4] + HEADER.pack(0, 0, 1, *numbers)[4:]
    return Response(head + wire[HEADER_SIZE:end], flags, rcode, tuple(kept))


def addresses(response: Response) -> list[str]:
    """The addresses in the answer section."""
    found = []
    for record in response.records:
        data = response.wire[record.data_at : record.end]
        if record.section == ANSWER and record.type == A:
            found.append(".".join(map(str, data)))
        elif record.section == ANSWER and record.type == AAAA:
            found.append(
                ":".join(f"{high << 8 | low:x}" for high, low in zip(data[::2], data[1::2], strict=True))
            )
    return found


def read_name(wire: bytes, at: int) -> tuple[bytes, int]:
    """A name in lower case without compression, and where it ends in the message.

    Raises:
        ParseError: It is cut short, too long, or does not point backwards.
    """
    labels, size, end, jumps, before = [], 1, 0, 0, at
    try:
        while length := wire[at]:
            if length < 64:  # noqa: PLR2004 - a label
                label = wire[at : at + 1 + length]
                at += 1 + length
                size += 1 + length
                if size > _NAME_LIMIT or len(label) <= length:
                    raise ParseError("a name is cut short, or longer than 255 bytes")
                labels.append(label)
            elif length & _LABEL_TYPE == _POINTER:
                target = (length & 0x3F) << 8 | wire[at + 1]
                jumps += 1
                if not HEADER_SIZE <= target < before or jumps > _POINTER_LIMIT:
                    raise ParseError("a name does not point backwards")
                end = end or at + 2
                at = before = target
            else:
                raise ParseError("an unknown kind of label")
    except IndexError:
        raise ParseError("a name is cut short") from None
    return (b"".join(labels) + b"\0").lower(), end or at + 1


def _plain_name_end(wire: bytes, start: int) -> int:
    """Where a name without compression ends."""
    at = start
    try:
        while length := wire[at]:
            if length > 63:  # noqa: PLR2004 - not a label
                raise ParseError("the question's name is compressed or malformed")
            at += 1 + length
    except IndexError:
        raise ParseError("the question is cut short") from None
    if at + 1 - start > _NAME_LIMIT:
        raise ParseError("a name longer than 255 bytes")
    return at + 1


def _records(wire: bytes, at: int, counts: "tuple[int, ...] | list[int]") -> Iterator[Record]:
    """All records; each takes 11 bytes or more, so the message's length bounds their number."""
    seen_opt = False
    for section, count in enumerate(counts):
        for _ in range(count):
            start = at
            owner, at = read_name(wire, at)
            try:
                kind, klass, ttl, length = _FIXED.unpack_from(wire, at)
            except error:
                raise ParseError("a record is cut short") from None
            end = at + 10 + length
            if end > len(wire):
                raise ParseError("a record is cut short")
            if kind == OPT:
                if seen_opt or section != ADDITIONAL or owner != b"\0":
                    raise ParseError("an OPT record where none may be")
                seen_opt = True
            yield Record(section, start, owner, kind, klass, ttl, at + 4, at + 10, end)
            at = end


def _check_data(wire: bytes, record: Record) -> None:
    """Names in the data end with it; addresses have their size. Dynamic updates' empty data is no record."""
    if (size := _DATA_SIZES.get(record.type)) and record.klass == IN and record.end - record.data_at != size:
        raise ParseError("an address of the wrong size")
    before, names, after = _NAMES_IN_DATA.get(record.type, (0, 0, 0))
    if not names:
        return
    at = record.data_at + before
    for _ in range(names):
        _, at = read_name(wire, at)
    if at + after != record.end:
        raise ParseError("a record's data does not end where it should")


def _check_chain(wire: bytes, records: list[Record], question: Question) -> None:
    """Every answer belongs to the name that was asked for, or to one that an alias leads to."""
    answers = [record for record in records if record.section == ANSWER]
    owners = {record.owner for record in answers}
    if owners <= {question.name}:
        return
    aliases = {record.owner: read_name(wire, record.data_at)[0] for record in answers if record.type == CNAME}
    chain, name = {question.name}, question.name
    while (name := aliases.get(name, name)) not in chain:
        chain.add(name)
    for record in answers:
        if record.owner not in chain and not (
            record.type in {DNAME, RRSIG} and any(_is_below(name, record.owner) for name in chain)
        ):
            raise ParseError("an answer for a name that was not asked for")


def _is_below(name: bytes, parent: bytes) -> bool:
    """Whether the name is in the parent's domain."""
    while len(name) > len(parent):
        name = name[1 + name[0] :]
    return name == parent
