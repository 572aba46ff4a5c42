"""A whole log: its lines in, the account of its sessions out, and the time by the log's own clock."""

from collections.abc import Sequence

import msgspec

from proxywatch.errors import ParseError
from proxywatch.parse import dante_log
from proxywatch.parse.dante_log import COMMANDS, Closed, Moved, Opened
from proxywatch.state.dante_books import Saved
from proxywatch.state.sessions import Sessions

_EXAMPLE = 500
_FORMAT = 1

Place = tuple[int, int, int, bytes, bytes]


class Checkpoint(msgspec.Struct):
    """What a restart goes on from.

    Attributes:
        format: Of this structure.
        taken: When, in Unix seconds.
        places: Where the reading stood: device, inode, offset, the bytes around it, the oldest file first.
        lines, unparsed, read_bytes, rotations, truncations, gaps: Counters of the reading.
        sessions: Everything about the sessions.
    """

    format: int
    taken: float
    places: list[Place]
    lines: int
    unparsed: int
    read_bytes: int
    rotations: int
    truncations: int
    gaps: int
    sessions: Saved


class DanteAccount:
    """Accounts for a log, chunk by chunk.

    Attributes:
        sessions: The account.
        lines: Lines seen.
        unparsed: Lines that Dante does not write.
        example: The last of those, cut.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.lines = 0
        self.unparsed = 0
        self.example = b""
        self._anchor: tuple[float, float] | None = None

    def take(self, chunk: bytes) -> None:  # noqa: C901, PLR0912 - each kind of line in turn; calls cost
        """Account for complete lines.

        What is usual in the course of a session by TCP goes straight to the account; other lines make a
        record, and those of another form than nearly all are parsed for it.
        """
        sessions = self.sessions
        self.lines += chunk.count(b"\n")
        self._anchor = None
        for (
            lines, stamp, pid, command,
            beginner, door, wanted,
            sent, client, inside, read, written, target, returned, reason, gone,
            refused, blocked, proxy, asked, why,
        ) in dante_log.split(chunk):  # fmt: skip
            if beginner:
                if command == b"accept":
                    sessions.accepted(beginner, float(stamp))
                elif command == b"connect":
                    sessions.granted(beginner, float(stamp), pid, "connect")
                else:
                    what = COMMANDS[command]
                    sessions.add(Opened(float(stamp), pid, what, beginner, door, wanted))
            elif client:
                if command == b"connect":
                    done = sessions.relayed(client, target, written, sent)
                else:
                    done = command == b"accept" and sessions.disconnected(client, float(stamp))
                if not done:
                    time, what = float(stamp), COMMANDS[command]
                    received = written or (read if what == "accept" else 0)
                    moved = Moved(int(sent), int(received), int(returned or 0))
                    sessions.add(
                        Closed(time, pid, what, client, inside, target, reason, passed=True, moved=moved)
                    )
                if gone and not sessions.disconnected(client, float(gone)):
                    self._take_any(lines.partition(b"\n")[2])
            elif blocked:
                time = float(stamp)
                if refused == b"connect" or not sessions.disconnected(blocked, time):
                    what = COMMANDS[refused]
                    sessions.add(Closed(time, pid, what, blocked, proxy, asked, why, passed=False))
            else:
                self._take_any(lines)

    def _take_any(self, line: bytes) -> None:
        try:
            record = dante_log.parse(line)
        except ParseError:
            self.unparsed += 1
            self.example = line[:_EXAMPLE]
        else:
            if record is not None:
                self.sessions.add(record)

    def caught_up(self, age: float, monotonic: float) -> None:
        """Note that all was read.

        Args:
            age: How long ago the log was last written to, in seconds.
            monotonic: Now, in seconds.
        """
        if self._anchor is None and self.sessions.clock:
            self._anchor = (self.sessions.clock + max(0.0, age), monotonic)

    def now(self, monotonic: float) -> float:
        """The time by the log's own clock, in seconds.

        While lines wait to be read it stands at the last one read. Once all is read, that line is as old as
        the last write to the log, and the clock runs on from there.
        """
        if self._anchor is None:
            return self.sessions.clock
        time, then = self._anchor
        return time + monotonic - then

    def save(
        self,
        places: Sequence[Place],
        *,
        taken: float,
        read_bytes: int,
        rotations: int,
        truncations: int,
        gaps: int,
    ) -> bytes:
        """Everything, encoded."""
        sessions = self.sessions.save()
        return msgspec.msgpack.encode(
            Checkpoint(
                _FORMAT,
                taken,
                list(places),
                self.lines,
                self.unparsed,
                read_bytes,
                rotations,
                truncations,
                gaps,
                sessions,
            )
        )

    def restore(self, encoded: bytes) -> Checkpoint:
        """Go on from what `save` gave.

        Raises:
            ParseError: It is something else.
        """
        try:
            saved = msgspec.msgpack.decode(encoded, type=Checkpoint)
        except msgspec.MsgspecError as error:
            raise ParseError("not a checkpoint, or one of another version") from error
        if saved.format != _FORMAT:
            raise ParseError("a checkpoint of another version")
        self.sessions.restore(saved.sessions)
        self.lines, self.unparsed = saved.lines, saved.unparsed
        return saved
