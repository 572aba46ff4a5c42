"""One line of Dante's log (sockd or danted, 1.4.x), from its own file, standard error or syslog.

The grammar, as the server writes it
    HEAD LEVEL: MESSAGE
- HEAD is `Nov 21 12:04:52 (1795262692.980816) danted[7327]: `. The date is local time without a year, so the
  time is taken from the parentheses. Through syslog there are no parentheses: the time is then an ISO 8601
  stamp's, or seconds since the start of the year, of which only differences mean anything. A collecting
  daemon may put its own stamp, host or priority before, and write the process id as RFC 5424 has it. That is
  the id of the child that wrote the line.
- Rules write `VERDICT(RULE): PROTOCOL/COMMAND OP: REST`. OP is `[` begin, `]` end, `-` something on the way.
  RULE is the matching rule's number, not a session's. `pass` is no success: the end of a dial that failed
  says `pass`; `block` is no policy: a name that does not resolve says `block`.
- An endpoint is `ADDRESS.PORT`, IPv6 without brackets; the port follows the last dot. The client's may follow
  host ids `[10.1.2.3] ` and the user, `METHOD%NAME@`, where the method may be `gssapi/PROTECTION` and the
  name may itself hold `@`.
- `[`: `CLIENT PROXY`, and for a request ` -> OUTSIDE TARGET`. The target is an address here, never a name.
- `]` after data: `SENT -> CLIENT PROXY -> READ, WRITTEN -> OUTSIDE TARGET -> READ: REASON.  Session duration:
  Ns`, where SENT is what the client was given and WRITTEN what the target was; READ from the client misses
  what came together with the request. An accept line has `SENT -> CLIENT PROXY -> WRITTEN`. UDP has
  `BYTES/PACKETS`.
- `]` without data: `CLIENT PROXY[ -> OUTSIDE TARGET][: REASON]`. The target may be a name here.
- A bindreply has the roles reversed: the client is its last endpoint.

Names of hosts and users come from clients. Control and 8-bit bytes are escaped, all else passes as it is, so
every pattern is anchored to what the server writes itself, and a reason is read from the text's fixed ends.
Lines without a head continue the one before: `TCP_INFO:` and its fields, settings printed at start.
"""

import re
from calendar import timegm
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal

import msgspec

from proxywatch.errors import ParseError

Command = Literal["accept", "connect", "bind", "bindreply", "udpassociate", "udpreply", "hostid"]


class _Keyed(msgspec.Struct, frozen=True, gc=False):
    """A line that names a client's connection.

    Attributes:
        key: The client's endpoint and the proxy's, a space between, as the server writes them.
    """

    key: bytes

    @property
    def client(self) -> bytes:
        """The client's endpoint, `ADDRESS.PORT`; for UDP that of its datagrams."""
        return self.key.partition(b" ")[0]

    @property
    def proxy(self) -> bytes:
        """The proxy's endpoint that the client talks to."""
        return self.key.partition(b" ")[2]


class Opened(_Keyed, frozen=True, gc=False, tag=True):
    """A `[` line: a connection was accepted, or a request granted.

    Attributes:
        time: Unix time in seconds (or since the start of the year, see above).
        pid: The child that wrote it.
        command: What was opened.
    """

    time: float
    pid: bytes
    command: Command


class Moved(msgspec.Struct, frozen=True, gc=False):
    """The counters of an end.

    Attributes:
        sent: Bytes written to the client; for UDP with the headers of SOCKS.
        received: Bytes from the client that were written to the target.
        returned: Bytes read from the target; not in an accept line.
        packets: Datagrams to the client; 0 for TCP.
    """

    sent: int
    received: int
    returned: int
    packets: int = 0


class Closed(_Keyed, frozen=True, gc=False, tag=True):
    """A `]` line: a request or a connection ended, or was refused.

    Attributes:
        time, pid, command: As in Opened.
        target: The target's endpoint, perhaps with a name for the address; empty where there is none.
        reason: Why, in the server's words; empty for a rule that blocks.
        passed: The verdict; says nothing of success.
        moved: The counters; None where the line has none.
    """

    time: float
    pid: bytes
    command: Command
    target: bytes
    reason: bytes
    passed: bool
    moved: Moved | None = None


class Datagram(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A `block ... -` line: a datagram was not forwarded; its association goes on."""

    time: float
    target: bytes
    reason: bytes


class Relayed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A `pass ... -` line: data went through; written under `data` and `iooperation`."""

    time: float


class Server(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Something about the server itself.

    Attributes:
        time: As in Opened.
        event: `running`, `ending` (its mother says so or its children miss her), `reloaded`, or `child_died`.
        pid: The child that died; else who wrote it.
        version: Of one that is `running`.
    """

    time: float
    event: Literal["running", "ending", "reloaded", "child_died"]
    pid: bytes
    version: str = ""


Record = Opened | Closed | Datagram | Relayed | Server

_STAMP = rb"(?:.{16}|[^(\[]*+)\((\d{1,11}\.\d{1,9})\) "
_SYSLOG = (
    rb"(?:<\d+>)?(?:\d )?([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})?"
    rb"|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)|\d{1,11}\.\d{1,9}) (?:[^\s\[(]+ ){0,3}?"
)
_WRITER = rb"[^\s\[]++\[(\d+)\]: "
_WRITER_OF_SYSLOG = rb"[^\s\[]++[\[ ](\d+)(?:\]:| \S+ -) "
_RULE = rb"info: (pass|block)\(\d+\): (?:tcp|udp)/([a-z]+) ([\[\]-]): (.*)"
_ENDPOINT = rb"[0-9a-fA-F:.]+(?:%\w+\.\d+)?(?<=\d)"
_BEFORE_CLIENT = rb"(?:\[\S*\] )*(?:[\w./-]++%.*?@)?"
_KEY = _BEFORE_CLIENT + rb"(" + _ENDPOINT + rb" " + _ENDPOINT + rb")"
# What a client announces that it will send datagrams from may be a name.
_KEY_OF_UDP = _BEFORE_CLIENT + rb"(\S*\d " + _ENDPOINT + rb")"
_COUNT = rb"(\d{1,19})(?:/\d+)?"
_COUNTS = rb"(\d{1,19})(?:/(\d{1,19}))?"

_rule_line = re.compile(_STAMP + _WRITER + _RULE, re.DOTALL).fullmatch
_rule_line_of_syslog = re.compile(_SYSLOG + _WRITER_OF_SYSLOG + _RULE, re.DOTALL).fullmatch
_other_line = re.compile(_STAMP + _WRITER + rb"([a-z]+): (.*)", re.DOTALL).fullmatch
_other_line_of_syslog = re.compile(_SYSLOG + _WRITER_OF_SYSLOG + rb"([a-z]+): (.*)", re.DOTALL).fullmatch
_WITH_COUNTERS = (
    rb" -> " + _COUNT
    + rb"(?:, " + _COUNT + rb" -> (.*) -> " + _COUNT + rb")?: (.*)\.  Session duration: \d+s.*"
)  # fmt: skip
_begin = re.compile(_KEY + rb"(?: -> .*)?", re.DOTALL).fullmatch
_begin_of_udp = re.compile(_KEY_OF_UDP + rb"(?: -> .*)?", re.DOTALL).fullmatch
_end_with_counters = re.compile(_COUNTS + rb" -> " + _KEY + _WITH_COUNTERS, re.DOTALL).fullmatch
_end_of_udp_with_counters = re.compile(_COUNTS + rb" -> " + _KEY_OF_UDP + _WITH_COUNTERS, re.DOTALL).fullmatch
_end_of_bindreply = re.compile(
    _COUNT + rb" -> .* -> " + _COUNT + rb", " + _COUNT + rb" -> (" + _ENDPOINT + rb") .*?("
    + _ENDPOINT + rb") -> " + _COUNT + rb": (.*)\.  Session duration: \d+s.*", re.DOTALL,
).fullmatch  # fmt: skip
_reply = re.compile(rb".* -> (" + _ENDPOINT + rb") .*?(" + _ENDPOINT + rb")(?:: (.*))?", re.DOTALL).fullmatch
_end = re.compile(_KEY + rb"(?: -> (.*)|: (.*))?", re.DOTALL).fullmatch
_end_of_udp = re.compile(_KEY_OF_UDP + rb"(?: -> (.*)|: (.*))?", re.DOTALL).fullmatch
_target = re.compile(rb"\S+ (.*?\.\d+)(?: \[\S*\])*: (.*)", re.DOTALL).fullmatch
_bare_target = re.compile(rb"\S+ (.*\.\d+)", re.DOTALL).fullmatch
_running = re.compile(rb"Dante/server\[1/\d+\] v(\S+) running").match  # of several mothers the first
_died = re.compile(rb"(?:EOF from|sigchld\(\):) (?:io|negotiate|request)-child (\d+)").match
_continuation = re.compile(
    rb"\s*$|tcpi_\w+ *:|\s*TCP_INFO:|\s+\S|\"|[a-z][\w /-]{0,60}:|[{}]|(?:Src|Dst|Control) *: |src fd \d+ \("
).match

COMMANDS: Final[dict[bytes, Command]] = {
    b"accept": "accept", b"connect": "connect", b"bind": "bind", b"bindreply": "bindreply",
    b"udpassociate": "udpassociate", b"udpreply": "udpreply", b"hostid": "hostid",
}  # fmt: skip


def parse(line: bytes) -> Record | None:
    """The record that a line holds; None for one that is known and says nothing about sessions.

    Args:
        line: Without its newline.

    Raises:
        ParseError: Bytes that are no line of Dante's, or a rule's line that does not follow the grammar.
    """
    match = _rule_line(line)
    if match is None:
        match = _rule_line_of_syslog(line)
        if match is None:
            return _other(line)
        stamp, pid, verdict, command, operation, rest = match.groups()
        time = _time(stamp)
    else:
        stamp, pid, verdict, command, operation, rest = match.groups()
        time = float(stamp)
    known = COMMANDS.get(command)
    if known is None:
        raise ParseError("a rule's line with a command that is not known")
    if operation == b"]":
        return _closed(time, pid, verdict, known, rest)
    if operation == b"[":
        return _opened(time, pid, known, rest)
    return Relayed(time) if verdict == b"pass" else _datagram(time, rest)


def _opened(time: float, pid: bytes, command: Command, rest: bytes) -> Opened:
    if command == "bindreply":
        match = _reply(rest)
        if match is None:
            raise ParseError("a bindreply that names no client")
        proxy, client, _ = match.groups()
        return Opened(b"%b %b" % (client, proxy), time, pid, command)
    match = _begin_of_udp(rest) if command == "udpassociate" else _begin(rest)
    if match is None:
        raise ParseError("a session's begin that names no client")
    return Opened(match[1], time, pid, command)


def _closed(time: float, pid: bytes, verdict: bytes, command: Command, rest: bytes) -> Closed:
    if command == "bindreply":
        return _closed_reply(time, pid, verdict, rest)
    passed = verdict == b"pass"
    counters = _end_of_udp_with_counters if command == "udpassociate" else _end_with_counters
    match = counters(rest) if passed else None  # only what passed has moved data
    if match is not None:
        sent, packets, key, read, written, outside, back, reason = match.groups()
        target, returned = (_last(outside), int(back)) if written is not None else (b"", 0)
        if written is None:
            written = read if command == "accept" else b"0"
        moved = Moved(int(sent), int(written), returned, int(packets or 0))
        return Closed(key, time, pid, command, target, reason, passed=True, moved=moved)
    match = _end_of_udp(rest) if command == "udpassociate" else _end(rest)
    if match is None:
        raise ParseError("a session's end that names no client")
    key, outside, reason = match.groups()
    target = b""
    if outside is not None:
        target, reason = _outside(outside)
    return Closed(key, time, pid, command, target, reason or b"", passed=passed)


def _closed_reply(time: float, pid: bytes, verdict: bytes, rest: bytes) -> Closed:
    passed = verdict == b"pass"
    match = _end_of_bindreply(rest)
    if match is not None:
        to_peer, _, to_client, proxy, client, _, reason = match.groups()
        moved = Moved(int(to_client), int(to_peer), int(to_client))
        return Closed(
            b"%b %b" % (client, proxy), time, pid, "bindreply", b"", reason, passed=passed, moved=moved
        )
    match = _reply(rest)
    if match is None:
        raise ParseError("a bindreply's end that names no client")
    proxy, client, reason = match.groups()
    return Closed(b"%b %b" % (client, proxy), time, pid, "bindreply", b"", reason or b"", passed=passed)


def _datagram(time: float, rest: bytes) -> Datagram:
    match = _end_of_udp(rest)
    if match is None:
        raise ParseError("a datagram that names no client")
    _, outside, reason = match.groups()
    target = b""
    if outside is not None:
        target, reason = _outside(outside)
    return Datagram(time, target, reason or b"")


def _outside(text: bytes) -> tuple[bytes, bytes]:
    # A port ends the line where there is no reason, whatever a name before it holds.
    match = _bare_target(text) if text[-1:].isdigit() else None
    if match is not None:
        return match[1], b""
    match = _target(text)
    if match is None:
        raise ParseError("a target without a port")
    return match[1], match[2]


def _last(outside: bytes) -> bytes:
    # OUTSIDE [PROXY] [EXTERNAL] TARGET [HOSTID]...: the host ids stand in brackets.
    words = [word for word in outside.split(b" ") if not word.startswith(b"[")]
    return words[-1] if words else b""


def _other(line: bytes) -> Server | None:
    match = _other_line(line) or _other_line_of_syslog(line)
    if match is None:
        if _continuation(line):
            return None
        raise ParseError("no line of Dante's")
    stamp, pid, _, message = match.groups()
    if message.startswith((b"pass(", b"block(")):
        raise ParseError("a rule's line that does not follow the grammar")
    running = _running(message)
    if running:
        return Server(_time(stamp), "running", pid, running[1].decode(errors="replace"))
    if message.startswith(b"SIGHUP ]"):
        return Server(_time(stamp), "reloaded", pid)
    if message.startswith(b"mother[") or b"mother unexpectedly" in message:
        return Server(_time(stamp), "ending", pid)
    died = _died(message)
    return Server(_time(stamp), "child_died", died[1]) if died else None


@lru_cache(maxsize=64)  # syslog's are the same for all lines of a second
def _time(stamp: bytes) -> float:
    """Seconds: Unix time where the stamp allows it, else since the start of a leap year."""
    text = stamp.decode()
    try:
        if text[0].isalpha():
            text, _, fraction = text.partition(".")
            parts = datetime.strptime(f"2000 {text}", "%Y %b %d %H:%M:%S")  # noqa: DTZ007 - differences only
            seconds = timegm(parts.timetuple()) - timegm((2000, 1, 1, 0, 0, 0))
            return seconds + float(f"0.{fraction or 0}")
        return float(text) if text.replace(".", "").isdigit() else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise ParseError("a stamp that is no time") from None
