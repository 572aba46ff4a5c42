"""One line of Dante's log (sockd or danted, 1.4.x), from its own file, standard error or syslog.

    HEAD LEVEL: MESSAGE

- HEAD is `Nov 21 12:04:52 (1795262692.980816) danted[7327]: `. The date is local time without a year, so the
  time is taken from the parentheses. The number in brackets is the child that wrote the line. `envelope`
  brings lines that came another way into this form.
- Rules write `VERDICT(RULE): PROTOCOL/COMMAND OP: REST`. OP is `[` begin, `]` end, `-` something on the way.
  RULE is the matching rule's number, not a session's. `pass` is no success: the end of a dial that failed
  says `pass`; `block` is no policy: a name that does not resolve says `block`. `rule_line` reads REST.
- Lines without a head continue the one before: `TCP_INFO:` and its fields, settings printed at start.

Of a longer line than Dante writes about a session, the first 4 KiB are looked at: that is enough for one that
says that data went through (`log: data` adds the data); any other is refused.
"""

import re

from proxywatch.dante import envelope, rule_line
from proxywatch.dante.records import COMMANDS, Record, Relayed, Server
from proxywatch.errors import ParseError

LONGEST = 4096

_line = re.compile(
    envelope.OWN_HEAD
    + rb"(?:info: (pass|block)\(\d{1,10}\): (?:tcp|udp)/([a-z]{1,16}) ([\[\]-]): (.*)|[a-z]{1,16}: (.*))",
    re.DOTALL,
).fullmatch
_running = re.compile(rb"Dante/server\[1/\d{1,5}\] v(\S{1,32}) running").match  # of several mothers the first
_died = re.compile(rb"(?:EOF from|sigchld\(\):) (?:io|negotiate|request)-child (\d{1,10})").match
_continuation = re.compile(
    rb"\s*$|tcpi_\w{1,64} *:|\s*TCP_INFO:|\s+\S|\"[\w.]{1,64}\": |[{}],?$"
    rb"|[a-z][a-z /]{2,60}: \d{1,10}\.\d{1,9}s$"
    rb"|(?:Src|Dst|Control) *: |src fd \d{1,10} \("
).match


def parse(line: bytes) -> Record | None:
    """The record that a line holds; None for one that is known and says nothing about sessions.

    Args:
        line: Without its newline.

    Raises:
        ParseError: Bytes that are no line of Dante's, or a rule's line that does not follow the grammar.
    """
    match = _line(line[:LONGEST])
    if match is None:
        line = line.removesuffix(b"\r")
        if _continuation(line[:LONGEST]):
            return None
        line = envelope.unwrap(line if line.startswith(b"{") else line[: 2 * LONGEST])
        match = _line(line[:LONGEST])
        if match is None:
            if _continuation(line[:LONGEST]):
                return None
            raise ParseError("no line of Dante's")
    if match[3] is None:
        return _other(float(match[1]), match[2], match[7])
    return _of_rule(match, whole=len(line) <= LONGEST)


def _of_rule(match: re.Match[bytes], *, whole: bool) -> Record:
    stamp, pid, verdict, command, operation, rest, _ = match.groups()
    time, passed = float(stamp), verdict == b"pass"
    known = COMMANDS.get(command)
    if known is None:
        raise ParseError("a rule's line with a command that is not known")
    if operation == b"-" and passed:
        return Relayed(time)
    if not whole:
        raise ParseError("a rule's line that is longer than Dante writes any")
    rest = rest.removesuffix(b"\r")
    if operation == b"]":
        return rule_line.closed(time, pid, known, rest, passed=passed)
    if operation == b"[":
        return rule_line.opened(time, pid, known, rest)
    return rule_line.datagram(time, rest)


def _other(time: float, pid: bytes, message: bytes) -> Server | None:
    if message.startswith((b"pass(", b"block(")):
        raise ParseError("a rule's line that does not follow the grammar")
    running = _running(message)
    if running:
        return Server(time, "running", pid, running[1].decode(errors="replace"))
    if message.startswith(b"SIGHUP ]"):
        return Server(time, "reloaded", pid)
    if message.startswith(b"mother[") or _missed(message):
        return Server(time, "ending", pid)
    died = _died(message)
    return Server(time, "child_died", died[1]) if died else None


_missed = re.compile(rb"[a-z_]{1,32}\(\): mother unexpectedly").match
