"""A whole log: its lines in, the account of its sessions out, and the time by the log's own clock."""

from collections.abc import Sequence

import msgspec

from proxywatch.dante import fast_path
from proxywatch.dante import line as dante_log
from proxywatch.dante.connections import GRANTED, UNDECIDED
from proxywatch.dante.sessions import SERVICES, Sessions
from proxywatch.dante.totals import Saved
from proxywatch.errors import ParseError

_EXAMPLE = 500
_FORMAT = 2

Place = tuple[int, int, int, bytes, bytes]


class Checkpoint(msgspec.Struct):
    """What a restart goes on from.

    Attributes:
        format: Of this structure.
        taken: Up to when it was seen what was written to the log, in Unix seconds.
        places: Where the reading stood: device, inode, offset, the bytes around it, the oldest file first.
        lines, unparsed, read_bytes, rotations, truncations, gaps: Counters of the reading.
        sessions: Everything about the sessions.
        known: What else was read, in the form of places.
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
    known: list[Place] = []


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

    def take(self, chunk: bytes) -> None:  # noqa: C901 - a session's course in one loop: calls cost
        """Account for complete lines.

        What is usual in the course of a client's CONNECT is accounted for here; all else makes records.
        """
        sessions = self.sessions
        connections, settings, totals = sessions.connections, sessions.settings, sessions.totals
        doubtful, given_up = sessions.table.doubtful, sessions.table.given_up
        setups: list[float] = []
        durations: list[float] = []
        received, given = totals.received, totals.sent
        add_bytes, add_duration = sessions.by_bytes.add, sessions.last_durations.append
        last, start, time = None, 0, 0.0
        self._anchor = None
        rows = fast_path.split(chunk)
        self.lines += len(rows)
        for row in rows:
            (
                second, micros, pid, command, sent, _, key, _, written, target, _, _, gone,
                refused, blocked, _, _, other,
            ) = row  # fmt: skip
            if second != last:
                sessions.settle(time, setups, durations)
                if not second:
                    self._take_any(other)
                    settings, last = sessions.settings, None
                    continue
                last = second
                start = int(second)
                sessions.table.look(start)
            time = start + int(gone or micros) * 1e-6
            if gone:
                self.lines += 1
                connection = connections.get(key)
                if (
                    connection is not None
                    and connection.outcome == GRANTED
                    and connection.command == "connect"
                    and connection.origin == "client"
                    and 0 <= connection.accepted <= time
                    and settings.proven
                    and key not in doubtful
                    and key not in given_up
                ):
                    upload, download = int(written), int(sent)
                    service = SERVICES.get(target[target.rfind(b".") + 1 :], "other")
                    received[service] += upload
                    given[service] += download
                    add_bytes(target, upload + download)
                    duration = time - connection.accepted
                    durations.append(duration)
                    add_duration(duration)
                    del connections[key]
                    continue
            elif command == b"accept" and not sent:
                sessions.accepted(key, time, pid)
                continue
            elif command == b"connect" and not sent:
                connection = connections.get(key)
                if (
                    connection is not None
                    and connection.outcome == UNDECIDED
                    and connection.origin == "client"
                    and 0 <= connection.accepted <= time
                ):
                    connection.outcome, connection.command, connection.pid = GRANTED, "connect", pid
                    setups.append(time - connection.accepted)
                    continue
            elif refused == b"accept" and sessions.disconnected(blocked, time):
                continue
            for record in fast_path.records(row, start, time):
                sessions.apply(record)
        sessions.settle(time, setups, durations)

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
        known: Sequence[Place] = (),
        /,
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
                list(known),
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
