"""Many lines of Dante's log at once: the quick way through those in which nothing is unusual.

Nearly all lines of a busy log are of three forms, and a record for each would cost more than to account for
them. Here one pattern takes a chunk apart; what it takes out of a line, `dante_log.parse` takes out of it
too. A line of any other form is handed on whole.

The pattern is for speed: sets of characters, where classes would be looked up byte by byte; nothing that is
tried twice; and a `]` is taken together with the accept `]` that its child wrote next, in the same second, if
that says the same.
"""

import re

from proxywatch.dante.line import COMMANDS, Closed, Moved, Opened

_HEAD = rb"(?P<second>[0-9]{1,11}+)\.([0-9]{6})\) [^ \t\n\r\f\v\[]++\[(?P<pid>[0-9]++)\]: info: "
_NEXT_HEAD = rb"(?P=second)\.([0-9]{6})\) [^ \t\n\r\f\v\[]++\[(?P=pid)\]: info: "
_PLAIN = rb"[0-9a-f:.]++(?<=[0-9])"
_OUTSIDE = rb"[0-9a-f:.]++"
_PLAIN_BEFORE_COLON = rb"[0-9a-f:.]*\.[0-9]+"
_ASKED = rb"[0-9A-Za-z:._-]*\.[0-9]+"
_USER = rb"(?:[a-z]++%[A-Za-z0-9_.-]++@)?"
_DURATION = rb"\.  Session duration: [0-9]++s"
_NUMBER = rb"[0-9]{1,19}+"
_PACKETS = rb"(?:/[0-9]++)?"
_ACCEPT_END = (
    _NEXT_HEAD + rb"pass\([0-9]++\): tcp/accept \]: (?P=sent) -> (?P=key) -> "
    rb"(?P=written): (?P=reason)" + _DURATION
)  # fmt: skip
_RULE = (
    rb"pass\([0-9]++\): (?:tcp|udp)/(accept|connect|bind|udpassociate) "
    rb"(?:\[: |\]: (?P<sent>" + _NUMBER + rb")(?:/(" + _NUMBER + rb"))? -> )"
    + _USER + rb"(?P<key>" + _PLAIN + rb" " + _PLAIN + rb")"
)  # fmt: skip
_END = (
    rb" -> (" + _NUMBER + rb")" + _PACKETS
    + rb"(?:, (?P<written>" + _NUMBER + rb")" + _PACKETS + rb" -> " + _OUTSIDE + rb" (" + _PLAIN + rb") -> ("
    + _NUMBER + rb")" + _PACKETS + rb")?: (?P<reason>[^.>\n]*+)" + _DURATION
)  # fmt: skip
# A name that a client asked for could look like a target with a reason; but then a port ends the line.
_BLOCK = (
    rb"block\([0-9]++\): tcp/(accept|connect) \]: (" + _PLAIN + rb" " + _PLAIN_BEFORE_COLON
    + rb")(?: -> " + _OUTSIDE + rb" (?P<asked>" + _ASKED + rb"))?"
    rb"(?:: ([^\n]*+)(?(asked)(?<=[a-z])|))?"
)  # fmt: skip


def _plain_lines(before_stamp: bytes) -> re.Pattern[bytes]:
    return re.compile(
        before_stamp + _HEAD + rb"(?:"
        + _RULE + rb"(?(sent)" + _END + rb"(?:\n" + before_stamp + _ACCEPT_END + rb")?|(?: -> [^\n]*+)?)"
        rb"|" + _BLOCK + rb")\n|([^\n]*+)\n"
    )  # fmt: skip


_dated_lines = _plain_lines(rb".{16}\(").findall
_prefixed_lines = _plain_lines(rb"[^(\[\n]*+\(").findall


def split(chunk: bytes) -> list[tuple[bytes, ...]]:
    """What is in every line of a chunk in which nothing is unusual, without records; the other lines whole.

    Args:
        chunk: Complete lines.

    Returns:
        For each line, or for a `]` together with the accept `]` that its child wrote next and that says the
        same:

        - the stamp's seconds, its microseconds, and the pid; empty in a line of another form
        - of a `[` or a `]` with counters: the command, the bytes and the datagrams to the client (none in a
          `[`), the client's endpoint and the proxy's
        - of a `]` with counters: the bytes from the client, those to the target, the target, the bytes from
          it, the reason, the accept `]`'s microseconds in the same second
        - of a `]` that blocks: the command, the client's endpoint and the proxy's, the target, the reason
        - a line of another form

        What a line has not is empty.
    """
    return (_dated_lines if chunk.startswith(b"(", 16) else _prefixed_lines)(chunk)


def records(row: tuple[bytes, ...], second: int, time: float) -> list[Opened | Closed]:
    """What `dante_log.parse` gives for the line or two of a row of `split`.

    Args:
        row: Not of another form.
        second: In which its lines were written.
        time: Of its last line, in seconds.
    """
    (
        _, micros, pid, begun, sent, packets, key, read, written, target, returned, reason, gone,
        refused, blocked, asked, why, _,
    ) = row  # fmt: skip
    if refused:
        return [Closed(blocked, time, pid, COMMANDS[refused], asked, why, passed=False)]
    command = COMMANDS[begun]
    if not sent:
        return [Opened(key, time, pid, command)]
    received = written or (read if command == "accept" else 0)
    moved = Moved(int(sent), int(received), int(returned or 0), int(packets or 0))
    if not gone:
        return [Closed(key, time, pid, command, target, reason, passed=True, moved=moved)]
    before = second + int(micros) * 1e-6
    return [
        Closed(key, before, pid, command, target, reason, passed=True, moved=moved),
        Closed(key, time, pid, "accept", b"", reason, passed=True, moved=Moved(int(sent), int(written), 0)),
    ]
