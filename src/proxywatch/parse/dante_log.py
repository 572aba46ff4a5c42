"""One line of Dante's log (sockd or danted, 1.4.x), from its own file, standard error or syslog.

The grammar, as the server writes it
    HEAD LEVEL: MESSAGE
- HEAD is `Nov 21 12:04:52 (1795262692.980816) danted[7327]: `. The date is local time without a year, so the
  time is taken from the parentheses. Through syslog there are no parentheses: the time is then an ISO 8601
  stamp's, or seconds since the start of the year, of which only differences mean anything. A collecting daemon
  may put its own stamp, host or priority before. The process id is that of the child that wrote the line.
- Rules write `VERDICT(RULE): PROTOCOL/COMMAND OP: REST`. OP is `[` begin, `]` end, `-` something on the way.
  RULE is the matching rule's number, not a session's. `pass` is no success: the end of a dial that failed says
  `pass`; `block` is no policy: a name that does not resolve says `block`.
- An endpoint is `ADDRESS.PORT`, IPv6 without brackets; the port follows the last dot. The client's may follow
  host ids `[10.1.2.3] ` and the user, `METHOD%NAME@`, where the method may be `gssapi/PROTECTION` and the name
  may itself hold `@`.
- `[`: `CLIENT PROXY`, and for a request ` -> OUTSIDE TARGET`. The target is an address here, never a name.
- `]` after data: `SENT -> CLIENT PROXY -> READ, WRITTEN -> OUTSIDE TARGET -> READ: REASON.  Session duration:
  Ns`, where SENT is what the client was given and WRITTEN what the target was; READ from the client misses what
  came together with the request. An accept line has `SENT -> CLIENT PROXY -> WRITTEN`. UDP has `BYTES/PACKETS`.
- `]` without data: `CLIENT PROXY[ -> OUTSIDE TARGET][: REASON]`. The target may be a name here.
- A bindreply has the roles reversed: the client is its last endpoint.

Names of hosts and users come from clients. Control and 8-bit bytes are escaped, all else passes as it is, so
every pattern is anchored to what the server writes itself, and a reason is read from the text's fixed ends.
Lines without a head continue the one before: `TCP_INFO:` and its fields, settings printed at start.
"""

import re
from calendar import timegm
from datetime import datetime
from typing import Final, Literal

import msgspec

from proxywatch.errors import ParseError

Command = Literal["accept", "connect", "bind", "bindreply", "udpassociate", "udpreply", "hostid"]


class Opened(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A `[` line: a connection was accepted, or a request granted.

    Attributes:
        time: Unix time in seconds (or since the start of the year, see above).
        pid: The child that wrote it.
        command: What was opened.
        client: The client's endpoint, `ADDRESS.PORT`; for UDP that of its datagrams.
        proxy: The proxy's endpoint that the client talks to.
        target: The target's endpoint; empty where there is none.
    """

    time: float
    pid: int
    command: Command
    client: bytes
    proxy: bytes
    target: bytes


class Closed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A `]` line: a request or a connection ended, or was refused.

    Attributes:
        time: As in Opened.
        pid: As in Opened.
        passed: The verdict; says nothing of success.
        command: What ended.
        client: As in Opened.
        proxy: As in Opened.
        target: The target's endpoint, perhaps with a name for the address; empty where there is none.
        counted: Whether the line carries counters.
        sent: Bytes written to the client.
        received: Bytes from the client that were written to the target.
        returned: Bytes read from the target.
        reason: Why, in the server's words; empty for a rule that blocks.
    """

    time: float
    pid: int
    passed: bool
    command: Command
    client: bytes
    proxy: bytes
    target: bytes
    counted: bool
    sent: int
    received: int
    returned: int
    reason: bytes


class Datagram(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A `block ... -` line: a datagram was not forwarded; its association goes on."""

    time: float
    client: bytes
    proxy: bytes
    target: bytes
    reason: bytes


class Moved(msgspec.Struct, frozen=True, gc=False, tag=True):
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
    pid: int
    version: str = ""


Record = Opened | Closed | Datagram | Moved | Server

_STAMP = rb"[^(\[]{0,200}\((\d+\.\d+)\) "
_SYSLOG = rb"(?:<\d+>)?(?:\d )?([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) (?:[^\s\[]+ )?"
_WRITER = rb"[^\s\[]{1,64}\[(\d+)\]: "
_RULE = rb"info: (pass|block)\(\d+\): (?:tcp|udp)/([a-z]+) ([\[\]-]): (.*)"
_ENDPOINT = rb"[0-9a-fA-F:.]+(?:%[\w.-]+)?\.\d+"
_CLIENT = rb"(?:\[\S*\] )*(?:[\w./-]+%.*?@)?(" + _ENDPOINT + rb") (" + _ENDPOINT + rb")"
_COUNT = rb"(\d+)(?:/\d+)?"

_rule_line = re.compile(_STAMP + _WRITER + _RULE, re.DOTALL).fullmatch
_rule_line_of_syslog = re.compile(_SYSLOG + _WRITER + _RULE, re.DOTALL).fullmatch
_other_line = re.compile(_STAMP + _WRITER + rb"([a-z]+): (.*)", re.DOTALL).fullmatch
_other_line_of_syslog = re.compile(_SYSLOG + _WRITER + rb"([a-z]+): (.*)", re.DOTALL).fullmatch
_begin = re.compile(_CLIENT + rb"(?: -> (.*))?", re.DOTALL).fullmatch
_end_with_counters = re.compile(
    _COUNT + rb" -> " + _CLIENT + rb" -> " + _COUNT
    + rb"(?:, " + _COUNT + rb" -> (.*) -> " + _COUNT + rb")?: (.*)\.  Session duration: \d+s.*", re.DOTALL,
).fullmatch  # fmt: skip
_end_of_bindreply = re.compile(
    _COUNT + rb" -> .* -> " + _COUNT + rb", " + _COUNT + rb" -> (" + _ENDPOINT + rb") .*?("
    + _ENDPOINT + rb") -> " + _COUNT + rb": (.*)\.  Session duration: \d+s.*", re.DOTALL,
).fullmatch  # fmt: skip
_reply = re.compile(rb".* -> (" + _ENDPOINT + rb") .*?(" + _ENDPOINT + rb")(?:: (.*))?", re.DOTALL).fullmatch
_end = re.compile(_CLIENT + rb"(?: -> (.*)|: (.*))?", re.DOTALL).fullmatch
_target = re.compile(rb"\S+ (.*?\.\d+)(?: \[\S*\])*: (.*)", re.DOTALL).fullmatch
_bare_target = re.compile(rb"\S+ (.*\.\d+)", re.DOTALL).fullmatch
_running = re.compile(rb"Dante/server\[\d+/\d+\] v(\S+) running").match
_died = re.compile(rb"(?:EOF from|sigchld\(\):) io-child (\d+)").match
# The four lines of a plain session by TCP, whole, each in one go: nine lines of ten of a busy log. What these
# four patterns match, the ones above match too, and to the same record.
_plain_line = re.compile(
    rb"[^(\[]*+\((\d+\.\d+)\) "
    + _WRITER
    + rb"info: pass\(\d+\): tcp/(?:"
    rb"accept (?:\[: (ADDRESS) (ADDRESS)"
    rb"|\]: (\d+) -> (ADDRESS) (ADDRESS) -> (\d+): ([^.]*+)\.  Session duration: \d+s)"
    rb"|connect (?:\[: (ADDRESS) (ADDRESS) -> ADDRESS (ADDRESS)"
    rb"|\]: (\d+) -> (ADDRESS) (ADDRESS) -> \d+, (\d+) -> ADDRESS (ADDRESS) -> (\d+): ([^.]*+)"
    rb"\.  Session duration: \d+s))".replace(b"ADDRESS", rb"[0-9a-f:.]++")
).fullmatch
_ACCEPTED, _DISCONNECTED, _CONNECTED = 4, 9, 12

_continuation = re.compile(rb"\s*$|tcpi_\w+ *:|\s*TCP_INFO:|\s+\S|\"|[a-z][\w /-]{0,60}:|[{}]").match

_COMMANDS: Final[dict[bytes, Command]] = {
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
    match = _plain_line(line)
    if match is not None:
        return _plain(match)
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
    known = _COMMANDS.get(command)
    if known is None:
        raise ParseError("a rule's line with a command that is not known")
    if operation == b"]":
        return _closed(time, int(pid), verdict == b"pass", known, rest)
    if operation == b"[":
        return _opened(time, int(pid), known, rest)
    return Moved(time) if verdict == b"pass" else _datagram(time, rest)


def _plain(match: re.Match[bytes]) -> Opened | Closed:
    kind = match.lastindex
    if kind == _ACCEPTED:
        stamp, pid, client, proxy = match.group(1, 2, 3, 4)
        return Opened(float(stamp), int(pid), "accept", client, proxy, b"")
    if kind == _CONNECTED:
        stamp, pid, client, proxy, target = match.group(1, 2, 10, 11, 12)
        return Opened(float(stamp), int(pid), "connect", client, proxy, target)
    if kind == _DISCONNECTED:
        stamp, pid, sent, client, proxy, written, reason = match.group(1, 2, 5, 6, 7, 8, 9)
        return Closed(
            float(stamp),
            int(pid),
            True,
            "accept",
            client,
            proxy,
            b"",
            True,
            int(sent),
            int(written),
            0,
            reason,
        )
    stamp, pid, sent, client, proxy, written, target, read, reason = match.group(
        1, 2, 13, 14, 15, 16, 17, 18, 19
    )
    return Closed(
        float(stamp),
        int(pid),
        True,
        "connect",
        client,
        proxy,
        target,
        True,
        int(sent),
        int(written),
        int(read),
        reason,
    )


def _opened(time: float, pid: int, command: Command, rest: bytes) -> Opened:
    if command == "bindreply":
        match = _reply(rest)
        if match is None:
            raise ParseError("a bindreply that names no client")
        proxy, client, _ = match.groups()
        return Opened(time, pid, command, client, proxy, b"")
    match = _begin(rest)
    if match is None:
        raise ParseError("a session's begin that names no client")
    client, proxy, outside = match.groups()
    return Opened(time, pid, command, client, proxy, _last(outside) if outside else b"")


def _closed(time: float, pid: int, passed: bool, command: Command, rest: bytes) -> Closed:  # noqa: FBT001
    if command == "bindreply":
        return _closed_reply(time, pid, passed, rest)
    match = _end_with_counters(rest)
    if match is not None:
        sent, client, proxy, read, written, outside, returned, reason = match.groups()
        if written is None:
            relayed, back, target = int(read) if command == "accept" else 0, 0, b""
        else:
            relayed, back, target = int(written), int(returned), _last(outside)
        return Closed(
            time, pid, passed, command, client, proxy, target, True, int(sent), relayed, back, reason
        )
    match = _end(rest)
    if match is None:
        raise ParseError("a session's end that names no client")
    client, proxy, outside, reason = match.groups()
    target = b""
    if outside is not None:
        target, reason = _outside(outside)
    return Closed(time, pid, passed, command, client, proxy, target, False, 0, 0, 0, reason or b"")  # noqa: FBT003


def _closed_reply(time: float, pid: int, passed: bool, rest: bytes) -> Closed:  # noqa: FBT001
    match = _end_of_bindreply(rest)
    if match is not None:
        to_peer, _, to_client, proxy, client, _, reason = match.groups()
        sent, received = int(to_client), int(to_peer)
        return Closed(time, pid, passed, "bindreply", client, proxy, b"", True, sent, received, sent, reason)  # noqa: FBT003
    match = _reply(rest)
    if match is None:
        raise ParseError("a bindreply's end that names no client")
    proxy, client, reason = match.groups()
    return Closed(time, pid, passed, "bindreply", client, proxy, b"", False, 0, 0, 0, reason or b"")  # noqa: FBT003


def _datagram(time: float, rest: bytes) -> Datagram:
    match = _end(rest)
    if match is None:
        raise ParseError("a datagram that names no client")
    client, proxy, outside, reason = match.groups()
    target = b""
    if outside is not None:
        target, reason = _outside(outside)
    return Datagram(time, client, proxy, target, reason or b"")


def _outside(text: bytes) -> tuple[bytes, bytes]:
    # A port ends the line where there is no reason, whatever a name before it holds.
    match = _bare_target(text)
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
        return Server(_time(stamp), "running", int(pid), running[1].decode(errors="replace"))
    if message.startswith(b"SIGHUP ]"):
        return Server(_time(stamp), "reloaded", int(pid))
    if message.startswith(b"mother[") or b"mother unexpectedly" in message:
        return Server(_time(stamp), "ending", int(pid))
    died = _died(message)
    return Server(_time(stamp), "child_died", int(died[1])) if died else None


def _time(stamp: bytes) -> float:
    """Seconds: Unix time where the stamp allows it, else since the start of a leap year."""
    text = stamp.decode()
    try:
        if text[0].isalpha():
            parts = datetime.strptime(f"2000 {text}", "%Y %b %d %H:%M:%S")  # noqa: DTZ007 - differences only
            return float(timegm(parts.timetuple()) - timegm((2000, 1, 1, 0, 0, 0)))
        return float(text) if text.replace(".", "").isdigit() else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise ParseError("a stamp that is no time") from None
