"""Replies to clients, put together from bytes that are ready."""

from proxywatch.dns import message
from proxywatch.dns.message import AD, CD, HEADER, HEADER_SIZE, QR, RA, RD, TC, Query

BLOCKED, STALE, NO_REACHABLE, NETWORK = 15, 3, 22, 23
"""Extended errors (RFC 8914): blocked, stale answer, no reachable authority, network error."""

_ECHOED = RD | CD


def from_wire(query: Query, stored: bytes, flags: int, rcode: int, extended: int | None = None) -> bytes:
    """A reply with the records of a stored message, whose question is the query's.

    Args:
        query: Whom it is for: its id, spelling, flags and EDNS decide what the reply looks like.
        stored: The message, without an OPT record.
        flags: The stored message's; AD is shown to those who ask for it.
        rcode: The response code, at most 15.
        extended: An extended error, for those who speak EDNS.
    """
    asked = query.asked
    authentic = flags & AD if query.flags & AD or query.question.do else 0
    word = QR | RA | query.flags & _ECHOED | authentic | rcode
    _, _, _, answers, authorities, additionals = HEADER.unpack_from(stored)
    rest = stored[HEADER_SIZE + len(asked) :]
    if query.edns is None:
        return HEADER.pack(query.id, word, 1, answers, authorities, additionals) + asked + rest
    head = HEADER.pack(query.id, word, 1, answers, authorities, additionals + 1)
    return head + asked + rest + _opt(query, 0, extended)


def error(query: Query, rcode: int, extended: int | None = None) -> bytes:
    """A reply without records."""
    word = QR | RA | query.flags & _ECHOED | rcode & message.RCODE
    head = HEADER.pack(query.id, word, 1, 0, 0, 0 if query.edns is None else 1)
    tail = b"" if query.edns is None else _opt(query, rcode >> 4, extended)
    return head + _question(query) + tail


def header_error(wire: bytes, rcode: int) -> bytes:
    """A reply to what is no proper query but has a header."""
    ident, flags, *_ = HEADER.unpack_from(wire)
    return HEADER.pack(ident, QR | RA | flags & (message.OPCODE | _ECHOED) | rcode, 0, 0, 0, 0)


def records(query: Query, rcode: int, data: tuple[bytes, ...], ttl: int) -> bytes:
    """A reply with records of our own for the name that was asked."""
    pointer = (0xC000 | HEADER_SIZE).to_bytes(2, "big")
    body = b"".join(
        pointer + query.question.type.to_bytes(2, "big") + b"\0\1" + ttl.to_bytes(4, "big")
        + len(each).to_bytes(2, "big") + each
        for each in data
    )  # fmt: skip
    return from_wire(query, HEADER.pack(0, 0, 1, len(data), 0, 0) + _question(query) + body, 0, rcode)


def limit(query: Query) -> int:
    """The largest datagram for this client."""
    return min(query.size, message.EDNS_SIZE)


def truncated(query: Query, wire: bytes) -> bytes:
    """The reply without its records, which says that TCP has all of it."""
    (flags,) = (int.from_bytes(wire[2:4], "big"),)
    head = HEADER.pack(query.id, flags | TC, 1, 0, 0, 0 if query.edns is None else 1)
    return head + _question(query) + (b"" if query.edns is None else _opt(query, 0, None))


def _question(query: Query) -> bytes:
    question = query.question
    return query.asked + question.type.to_bytes(2, "big") + question.klass.to_bytes(2, "big")


def _opt(query: Query, upper: int, extended: int | None) -> bytes:
    if extended is None and not upper:
        return _PLAIN[query.question.do]
    option = b"" if extended is None else b"\0\x0f\0\2" + extended.to_bytes(2, "big")
    return message.opt(do=query.question.do, upper=upper, option=option)


_PLAIN = {do: message.opt(do=do) for do in (False, True)}
