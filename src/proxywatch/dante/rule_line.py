"""What a rule's line says after its operation: whose connection, where to, the counters, why it ended.

    [   CLIENT PROXY                                for a request also  -> OUTSIDE TARGET
    ]   SENT -> CLIENT PROXY -> READ, WRITTEN -> OUTSIDE TARGET -> READ: REASON.  Session duration: Ns
        SENT -> CLIENT PROXY -> WRITTEN: REASON.  Session duration: Ns             of a connection
        CLIENT PROXY[ -> OUTSIDE TARGET][: REASON]                                 without data

SENT is what the client was given and WRITTEN what the target was; READ from the client misses what came
together with the request. UDP has `BYTES/PACKETS`. An endpoint is `ADDRESS.PORT`, IPv6 without brackets.
Before the client's may stand host ids, `[10.1.2.3] `, and the user, `METHOD%NAME@`, where the method may be
`gssapi/PROTECTION`. The target is an address after data and may be a name elsewhere. A bindreply has the
roles reversed: the client is its last endpoint.

Names of users and hosts come from clients and are not quoted, so they may hold anything that the server
writes itself. So a line is read from both ends: its first word says whether there is a user, and the reason
and the duration stand last. Where a name allows several readings all are given; who knows the open sessions
chooses.
"""

import re
from collections.abc import Sequence
from itertools import islice

from proxywatch.dante.records import Ambiguous, Closed, Command, Datagram, Moved, Opened
from proxywatch.errors import ParseError

LONGEST_TARGET = 262  # a name of 255 bytes, a dot, a port
LONGEST_REASON = 1280  # a name of 255 bytes, each written as four, and the words around it
_CUT_REASON = 255  # where the server cuts some of its texts
_MOST_READINGS = 8

_ENDPOINT = rb"[0-9a-fA-F:.]{3,52}(?:%[\w.-]{1,15}\.\d{1,5})?(?<=\d)"
_COUNT = rb"(\d{1,19}+)(?:/(\d{1,19}+))?"
_HOST_IDS = rb"(?:\[[^\s\]]{0,64}\] ){0,16}+"

_start = re.compile(_HOST_IDS + rb"(?:(" + _ENDPOINT + rb" " + _ENDPOINT + rb")|[a-z][\w./-]{0,63}+%)").match
_after_user = re.compile(rb"@(" + _ENDPOINT + rb" " + _ENDPOINT + rb")(?= -> |: |$)").finditer
_relays = re.compile(rb" (" + _ENDPOINT + rb")(?= -> |: |$)").finditer
_sent = re.compile(_COUNT + rb" -> ").match
_counters = re.compile(
    rb" -> " + _COUNT + rb"(?:, " + _COUNT + rb" -> " + _ENDPOINT + rb" (.*) -> " + _COUNT + rb")?", re.DOTALL
).fullmatch
_seconds = re.compile(rb"(\d{1,9}+)s").match
_outside = re.compile(rb" -> " + _ENDPOINT + rb" ").match
_port = re.compile(rb"(\.\d{1,5}+)(?: \[[^\s\]]{0,64}\]){0,16}+(: |$)").finditer
_peer = re.compile(_ENDPOINT + rb" " + _ENDPOINT + rb" -> ").match
_peer_counted = re.compile(
    _COUNT + rb" -> " + _ENDPOINT + rb" " + _ENDPOINT + rb" -> " + _COUNT + rb", " + _COUNT + rb" -> "
).match
_proxy = re.compile(rb"(" + _ENDPOINT + rb") " + _HOST_IDS).match
_plain_client = re.compile(rb"(" + _ENDPOINT + rb")(?=: |$)").match
_endpoint = re.compile(_ENDPOINT).fullmatch
_last_client = re.compile(rb"@(" + _ENDPOINT + rb")(?=: |$)").finditer
_count = re.compile(_COUNT).fullmatch

_REASONS = (
    b"connect(2) to ", b"could not ", b"failed to ", b"bind-reply from ", b"expected bindreply ",
    b"per-key session", b"session limit", b"session rate limit", b"eof from client", b"receiving ",
    b"sending ", b"serverchain failed", b"blocked by ", b"Connection refused (delayed", b"connect timeout",
    b"remote peer ", b"local client ",
)  # fmt: skip
_REPEATING = (b": connect(2) to ", b": could not resolve target address ")

Readings = list[tuple[bytes, bytes]]  # (client and proxy, what follows)


def opened(time: float, pid: bytes, command: Command, rest: bytes) -> Opened | Closed | Ambiguous:
    """The record of a `[`.

    Raises:
        ParseError: It does not follow the grammar.
    """
    if command == "bindreply":
        return Opened(_reply(rest)[0], time, pid, command)
    found = _readings(rest)
    keys = [key for key, tail in found if not tail] or [key for key, tail in found if _outside(tail)]
    client, _, relay = rest.rpartition(b" ")
    if command == "udpassociate" and not keys and _endpoint(relay):  # the client announced a name
        keys = [b"%b %b" % (_announced(client), relay)]
    return _one_of(time, found, [Opened(key, time, pid, command) for key in keys])


def closed(
    time: float, pid: bytes, command: Command, rest: bytes, *, passed: bool
) -> Opened | Closed | Ambiguous:
    """The record of a `]`.

    Raises:
        ParseError: It does not follow the grammar.
    """
    sent = _sent(rest) if passed else None  # only what passed has moved data
    if command == "bindreply":
        return _closed_reply(time, pid, rest, passed=passed)
    readings = _udp_readings if command == "udpassociate" else _readings
    if sent is None:
        found = readings(rest)
        texts = [(key, _target_and_reason(tail)) for key, tail in found]
        return _one_of(
            time, found, [Closed(key, time, pid, command, *text, passed) for key, text in texts if text]
        )
    text, reason, duration = _last_words(rest[sent.end() :])
    found = readings(text)
    counted = [(key, _moved(int(sent[1]), int(sent[2] or 0), tail, command)) for key, tail in found]
    ends = [
        Closed(key, time, pid, command, target, reason, passed, moved, duration)
        for key, (moved, target) in counted
        if moved is not None
    ]
    # The end of a connection has two counters, that of a request by TCP four.
    usual = [end for end in ends if command == "udpassociate" or bool(end.target) == (command != "accept")]
    return _one_of(time, found, usual or ends)


def datagram(time: float, rest: bytes) -> Datagram:
    """The record of a `-` that blocks.

    Raises:
        ParseError: It does not follow the grammar.
    """
    found = [found for _, tail in _udp_readings(rest) if (found := _target_and_reason(tail)) is not None]
    if not found:
        raise ParseError("a datagram that names no client")
    return Datagram(time, *found[-1])


def _one_of(time: float, found: Readings, records: Sequence[Opened | Closed]) -> Opened | Closed | Ambiguous:
    if len(found) > _MOST_READINGS:
        return Ambiguous(time, ())
    if not records:
        raise ParseError("a rule's line that does not follow the grammar")
    return records[0] if len(records) == 1 else Ambiguous(time, tuple(records))


# Whose connection


def _readings(text: bytes) -> Readings:
    """Where the client and the proxy may stand; where there is no user, in one place."""
    start = _start(text)
    if start is None:
        return []
    if start[1]:
        return [(start[1], text[start.end() :])]
    found = islice(_after_user(text, start.end()), _MOST_READINGS + 1)
    return [(match[1], text[match.end() :]) for match in found]


def _udp_readings(text: bytes) -> Readings:
    """The same where the client may have announced a name to send its datagrams from."""
    found = _readings(text)
    if not found:
        relays = islice(_relays(text), _MOST_READINGS + 1)
        found = [
            (b"%b %b" % (_announced(text[: match.start()]), match[1]), text[match.end() :])
            for match in relays
        ]
    return found


def _announced(text: bytes) -> bytes:
    """A client's endpoint, which may have a name for the address, without host ids and user."""
    return text.rpartition(b"@")[2].rpartition(b" ")[2][-LONGEST_TARGET:]


# The roles reversed


def _closed_reply(time: float, pid: bytes, rest: bytes, *, passed: bool) -> Closed:
    counters = _peer_counted(rest)
    if counters is None:
        key, reason = _reply(rest)
        return Closed(key, time, pid, "bindreply", b"", reason, passed)
    text, reason, duration = _last_words(rest[counters.end() :])
    clients, _, back = text.rpartition(b" -> ")
    if not _count(back):
        raise ParseError("a bindreply's end without counters")
    key, _ = _reversed(clients)
    moved = Moved(int(counters[5]), int(counters[1]), int(counters[5]))
    return Closed(key, time, pid, "bindreply", b"", reason, passed, moved, duration)


def _reply(rest: bytes) -> tuple[bytes, bytes]:
    """(Client and proxy, reason) of a bindreply without counters."""
    peer = _peer(rest)
    if peer is None:
        raise ParseError("a bindreply that names no peer")
    return _reversed(rest[peer.end() :])


def _reversed(text: bytes) -> tuple[bytes, bytes]:
    """The same out of `PROXY [METHOD%NAME@]CLIENT[: REASON]`; the server's last words hold no `@`."""
    proxy = _proxy(text)
    if proxy is None:
        raise ParseError("a bindreply that names no proxy")
    client = _plain_client(text, proxy.end()) or next(reversed(list(_last_client(text, proxy.end()))), None)
    if client is None:
        raise ParseError("a bindreply that names no client")
    return b"%b %b" % (client[1], proxy[1]), text[client.end() + 2 :][:LONGEST_REASON]


# The counters


def _last_words(text: bytes) -> tuple[bytes, bytes, int]:
    """(What comes before, reason, duration) of an end with counters.

    No client chooses any of the last two.
    """
    text, _, duration = text.rpartition(b".  Session duration: ")
    seconds = _seconds(duration)
    text, colon, reason = text.rpartition(b": ")
    if seconds is None or not colon:
        raise ParseError("an end with counters and without a duration")
    return text, reason[:LONGEST_REASON], int(seconds[1])


def _moved(sent: int, packets: int, tail: bytes, command: Command) -> tuple[Moved | None, bytes]:
    """(Counters, target); no counters where the tail is none of the server's."""
    match = _counters(tail)
    if match is None:
        return None, b""
    read, _, written, _, target, back, _ = match.groups()
    if written is None:
        return Moved(sent, int(read) if command == "accept" else 0, 0, packets), b""
    return Moved(sent, int(written), int(back), packets), _last_endpoint(target)


def _last_endpoint(text: bytes) -> bytes:
    """The target, out of `[PROXY ][EXTERNAL ]TARGET[ HOSTID]...`, where host ids stand in brackets."""
    words = [word for word in text.split(b" ") if not word.startswith(b"[")]
    return words[-1][:LONGEST_TARGET] if words else b""


# Why it ended


def _target_and_reason(tail: bytes) -> tuple[bytes, bytes] | None:
    """Both out of `[ -> OUTSIDE TARGET][: REASON]`; None where it is neither."""
    if not tail:
        return b"", b""
    if tail.startswith(b": "):
        return b"", tail[2 : 2 + LONGEST_REASON]
    outside = _outside(tail)
    ends = _split(tail[outside.end() :]) if outside else None
    if outside is None or ends is None:
        return None
    text, (target, reason) = tail[outside.end() :], ends
    return text[:target][:LONGEST_TARGET], text[reason:][:LONGEST_REASON]


def _split(text: bytes) -> tuple[int, int] | None:
    """(Where the target ends, where the reason begins); None without a port. The target may be any name.

    A reason that repeats the target says how long it is. A port that ends the line leaves no room for a
    reason. Else the reason is the first that begins as one of the server's.
    """
    for words in _REPEATING:
        length = _repeated(text, words)
        if length:
            return length, length + 2
    ports = list(_port(text))
    if not ports:
        return None
    if not ports[-1][2]:
        return ports[-1].end(1), len(text)
    port = next((port for port in ports if text.startswith(_REASONS, port.end())), ports[0])
    return port.end(1), port.end()


def _repeated(text: bytes, words: bytes) -> int:
    """The length of a target that stands before and after some words; 0 where none does.

    The second may be cut, as the server cuts its reasons.
    """
    length = text.find(words)
    while 0 < length <= 4 * LONGEST_TARGET:  # each of its bytes may be written as four
        target, again = text[:length], text[length + len(words) :]
        if again.startswith(target):
            return length
        if len(text) == length + 2 + _CUT_REASON and target.startswith(again):
            return length
        length = text.find(words, length + 1)
    return 0
