"""Many lines of Dante's log at once: the quick way through those in which nothing is unusual.

Nearly all lines of a busy log are of three forms, and a record for each would cost more than to count it.
Here one pattern takes a chunk apart; what it takes out of a line, `line.parse` takes out of it too. A line
of any other form is returned whole.

The pattern is for speed: sets of characters, where classes would be looked up byte by byte; nothing that is
tried twice; and a `]` is taken together with the accept `]` that its child wrote next, in the same second, if
that says the same. It takes no line in which a name could be read in two ways: users have plain names, and
all else in their lines is numbers.
"""

import re

from proxywatch.dante.records import COMMANDS, Closed, Moved, Opened

_BEFORE_STAMP = rb"[A-Z].{15}\("
_HEAD = rb"(?P<second>[0-9]{1,11}+)\.([0-9]{6})\) [^ \t\n\r\f\v\[]{1,64}+\[(?P<pid>[0-9]{1,10}+)\]: info: "
_NEXT_HEAD = rb"(?P=second)\.([0-9]{6})\) [^ \t\n\r\f\v\[]{1,64}+\[(?P=pid)\]: info: "
_PLAIN = rb"[0-9a-f:.]{3,52}+(?<=[0-9])"
_OUTSIDE = rb"[0-9a-f:.]{3,52}+(?<=[0-9])"
_ASKED = rb"[0-9A-Za-z:._-]{1,256}\.[0-9]{1,5}"
_USER = rb"(?:[a-z]{1,64}+%[A-Za-z0-9_.-]{1,255}+@)?"
_NUMBER = rb"[0-9]{1,19}+"
_PACKETS = rb"(?:/[0-9]{1,19}+)?"
_DURATION = rb"\.  Session duration: (?P<lasted>[0-9]{1,9}+)s"
_RULE_NUMBER = rb"\([0-9]{1,10}+\): "
_ACCEPT_END = (
    _NEXT_HEAD + rb"pass" + _RULE_NUMBER + rb"tcp/accept \]: (?P=sent) -> (?P=key) -> "
    rb"(?P=written): (?P=reason)\.  Session duration: (?P=lasted)s"
)  # fmt: skip
_RULE = (
    rb"pass" + _RULE_NUMBER + rb"(?:tcp|udp)/(accept|connect|bind|udpassociate) "
    rb"(?:\[: |\]: (?P<sent>" + _NUMBER + rb")(?:/(" + _NUMBER + rb"))? -> )"
    + _USER + rb"(?P<key>" + _PLAIN + rb" " + _PLAIN + rb")"
)  # fmt: skip
_END = (
    rb" -> (" + _NUMBER + rb")" + _PACKETS
    + rb"(?:, (?P<written>" + _NUMBER + rb")" + _PACKETS + rb" -> " + _OUTSIDE + rb" (" + _PLAIN + rb") -> ("
    + _NUMBER + rb")" + _PACKETS + rb")?: (?P<reason>[^.:>\n]{1,255}+)" + _DURATION
)  # fmt: skip
_BLOCK = (
    rb"block" + _RULE_NUMBER + rb"tcp/(accept|connect) \]: (" + _PLAIN + rb" [0-9a-f:.]{1,52}\.[0-9]{1,5})"
    rb"(?: -> " + _OUTSIDE + rb" (?P<asked>" + _ASKED + rb"))?"
    rb"(?:: ((?(asked)connect\(2\) to [0-9a-f:.]{3,52}+ from [0-9a-f:.]{3,52}+ failed: [A-Za-z ]{1,64}+"
    rb"|[^\n]{0,1280}+)))?"
)  # fmt: skip
_plain_lines = re.compile(
    _BEFORE_STAMP + _HEAD + rb"(?:"
    + _RULE + rb"(?(sent)" + _END + rb"(?:\n" + _BEFORE_STAMP + _ACCEPT_END + rb")?|(?: -> " + _OUTSIDE
    + rb" " + _PLAIN + rb")?)"
    rb"|" + _BLOCK + rb")\n|([^\n]*+)\n"
).findall  # fmt: skip


def split(chunk: bytes) -> list[tuple[bytes, ...]]:
    """What is in every line of a chunk in which nothing is unusual, without records; the other lines whole.

    Args:
        chunk: Complete lines, out of their envelope.

    Returns:
        For each line, or for a `]` together with the accept `]` that its child wrote next and that says the
        same:

        - the stamp's seconds, its microseconds, and the pid; empty in a line of another form
        - of a `[` or a `]` with counters: the command, the bytes and the datagrams to the client (none in a
          `[`), the client's endpoint and the proxy's
        - of a `]` with counters: the bytes from the client, those to the target, the target, the bytes from
          it, the reason, the duration, the accept `]`'s microseconds in the same second
        - of a `]` that blocks: the command, the client's endpoint and the proxy's, the target, the reason
        - a line of another form

        What a line has not is empty.
    """
    return _plain_lines(chunk)


def records(row: tuple[bytes, ...], second: int, time: float) -> list[Opened | Closed]:
    """What `line.parse` gives for the line or two of a row of `split`.

    Args:
        row: Not of another form.
        second: In which its lines were written.
        time: Of its last line, in seconds.
    """
    (
        _, micros, pid, begun, sent, packets, key, read, written, target, returned, reason, lasted, gone,
        refused, blocked, asked, why, _,
    ) = row  # fmt: skip
    if refused:
        return [Closed(blocked, time, pid, COMMANDS[refused], asked, why, passed=False)]
    command = COMMANDS[begun]
    if not sent:
        return [Opened(key, time, pid, command)]
    received = written or (read if command == "accept" else 0)
    moved = Moved(int(sent), int(received), int(returned or 0), int(packets or 0))
    duration = int(lasted)
    if not gone:
        return [Closed(key, time, pid, command, target, reason, passed=True, moved=moved, duration=duration)]
    before = second + int(micros) * 1e-6
    ended = Moved(int(sent), int(written), 0)
    return [
        Closed(key, before, pid, command, target, reason, passed=True, moved=moved, duration=duration),
        Closed(key, time, pid, "accept", b"", reason, passed=True, moved=ended, duration=duration),
    ]
