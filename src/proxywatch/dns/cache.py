"""Answers kept for as long as they may be, in bounded memory. Times are monotonic seconds and handed in.

An answer lives for its shortest TTL; one that says that something does not exist lives for the SOA record's
(RFC 2308). After that it may be served for a while longer where no upstream answers (RFC 8767). Failures live
apart and shortly (RFC 9520), so that none of them ever takes the place of an answer.

The answers that were asked for least recently go when there are too many. Every one is counted with all that
Python holds for it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from struct import Struct, pack_into, unpack_from

from proxywatch.dns import message
from proxywatch.dns.message import ANSWER, AUTHORITY, HEADER, NOERROR, NXDOMAIN, Question, Response

_OVERHEAD = 560
"""Bytes beside name, message and places of TTLs: objects, key, and places in the two tables (measured)."""
_PLACES = Struct("!H")
_STALE_TTL = 30
_ANY = 255
_LARGEST_TTL = 0x7FFFFFFF
_FAILURES = 10_000


@dataclass(frozen=True, slots=True)
class Terms:
    """How long answers are kept.

    Attributes:
        size: Bytes of memory.
        most: The longest life of an answer, in seconds.
        least: The shortest life of a positive answer that may be kept at all, in seconds.
        negative: The longest life of an answer that something does not exist, in seconds.
        failure: How long a failure is remembered, in seconds.
        stale: How long after its life an answer may be served where no upstream answers, in seconds.
    """

    size: int = 64_000_000
    most: float = 86400.0
    least: float = 0.0
    negative: float = 3600.0
    failure: float = 5.0
    stale: float = 0.0


class Entry:
    """An answer that can be given to anybody who asks its question.

    Attributes:
        wire: The message; its TTLs are right as of `stamp`.
        flags: Of the upstream's response.
        rcode: Of the upstream's response.
        stamp: When it came, later when the TTLs were last taken down; in monotonic seconds.
        expires: The end of its life; equal to `stamp` at first if it must not be kept.
        held: Bytes of memory, all told.
    """

    __slots__ = ("_places", "expires", "flags", "held", "rcode", "stamp", "wire")

    def __init__(self, question: Question, response: Response, terms: Terms, now: float) -> None:
        negative = response.rcode == NXDOMAIN or not _has_answer(question, response)
        life = _negative_life(response, terms) if negative else _life(response, terms)
        self.flags = response.flags
        self.rcode = response.rcode
        self.stamp = now
        self.expires = now + life
        self.wire, self._places = _limited(response, life if negative else terms.most)
        self.held = _OVERHEAD + 2 * len(question.name) + len(self.wire) + len(self._places)

    def fresh(self, now: float) -> bytes:
        """The message with its TTLs as they are now."""
        elapsed = int(now - self.stamp)
        if elapsed > 0:
            self._age(elapsed)
        return self.wire

    def stale(self) -> bytes:
        """The message with the TTL of what is served beyond its life."""
        wire = bytearray(self.wire)
        for (place,) in _PLACES.iter_unpack(self._places):
            pack_into("!I", wire, place, _STALE_TTL)
        return bytes(wire)

    def _age(self, elapsed: int) -> None:
        wire = bytearray(self.wire)
        for (place,) in _PLACES.iter_unpack(self._places):
            (ttl,) = unpack_from("!I", wire, place)
            pack_into("!I", wire, place, max(0, ttl - elapsed))
        self.wire = bytes(wire)
        self.stamp += elapsed


class Cache:
    """Entries by question, and failures.

    Attributes:
        held: Bytes of memory of all entries.
        evicted: How many entries made room for others.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._entries: OrderedDict[Question, Entry] = OrderedDict()
        self._failures: OrderedDict[Question, float] = OrderedDict()
        self.held = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question, now: float) -> Entry | None:
        """The answer, while it lives."""
        entry = self._entries.get(question)
        if entry is None or now >= entry.expires:
            return None
        self._entries.move_to_end(question)
        return entry

    def stale(self, question: Question, now: float) -> Entry | None:
        """The answer after its life, while it may be served where no upstream answers."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        if now < entry.expires + self._terms.stale:
            return entry
        self._remove(question)
        return None

    def put(self, question: Question, response: Response, now: float) -> Entry:
        """Make an entry of a response, and keep it if it may be kept."""
        entry = Entry(question, response, self._terms, now)
        self._failures.pop(question, None)
        if now < entry.expires and entry.held <= self._terms.size:
            self._remove(question)
            self._entries[question] = entry
            self.held += entry.held
            while self.held > self._terms.size:
                self.held -= self._entries.popitem(last=False)[1].held
                self.evicted += 1
        return entry

    def fail(self, question: Question, now: float) -> None:
        """Remember that no upstream answered this."""
        self._failures[question] = now + self._terms.failure
        self._failures.move_to_end(question)
        if len(self._failures) > _FAILURES:
            self._failures.popitem(last=False)

    def failed(self, question: Question, now: float) -> bool:
        """Whether no upstream answered this a moment ago."""
        until = self._failures.get(question)
        if until is None:
            return False
        if now < until:
            return True
        del self._failures[question]
        return False

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._failures.clear()
        self.held = 0

    def _remove(self, question: Question) -> None:
        if (entry := self._entries.pop(question, None)) is not None:
            self.held -= entry.held


def _life(response: Response, terms: Terms) -> float:
    """Seconds that an answer may be kept; 0 for not at all."""
    if not _may_be_kept(response):
        return 0.0
    life = min(_ttl(record.ttl) for record in response.records if record.section == ANSWER)
    return min(max(life, terms.least), terms.most) if life else 0.0


def _negative_life(response: Response, terms: Terms) -> float:
    """Seconds that an absence may be remembered; 0 where the zone says nothing of it."""
    soa = [each for each in response.records if each.section == AUTHORITY and each.type == message.SOA]
    if not soa or not _may_be_kept(response):
        return 0.0
    (minimum,) = unpack_from("!I", response.wire, soa[0].end - 4)
    aliases = [_ttl(record.ttl) for record in response.records if record.section == ANSWER]
    return min([*aliases, _ttl(soa[0].ttl), _ttl(minimum), terms.negative, terms.most])


def _may_be_kept(response: Response) -> bool:
    return not response.flags & message.TC and response.rcode in {NOERROR, NXDOMAIN}


def _has_answer(question: Question, response: Response) -> bool:
    """Whether there are records of the type that was asked for, or any record where all are."""
    return any(
        record.section == ANSWER and question.type in {record.type, _ANY} for record in response.records
    )


def _ttl(ttl: int) -> int:
    return min(ttl, _LARGEST_TTL)


def _limited(response: Response, life: float) -> tuple[bytes, bytes]:
    """The message with no TTL above the longest life, and the places of the TTLs as packed numbers."""
    wire = bytearray(response.wire)
    most = int(life)
    for record in response.records:
        if record.ttl > most:
            pack_into("!I", wire, record.ttl_at, most)
    places = b"".join(_PLACES.pack(record.ttl_at) for record in response.records)
    HEADER.pack_into(wire, 0, 0, 0, *HEADER.unpack_from(wire)[2:])
    return bytes(wire), places
