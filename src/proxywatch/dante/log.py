"""A whole log: its lines in, sessions and their totals out, and the time by the log's own clock."""

from collections.abc import Iterator

import msgspec

from proxywatch.dante import fast_path
from proxywatch.dante import line as dante_line
from proxywatch.dante.connections import GRANTED, UNDECIDED
from proxywatch.dante.counting import LONGEST_SETUP, SAID_WITHIN, SERVICES
from proxywatch.dante.envelope import unwrap_all
from proxywatch.dante.sessions import Sessions
from proxywatch.dante.totals import SavedSessions
from proxywatch.errors import ParseError

_EXAMPLE = 500
_MANY_LINES = 1024  # in 32 KiB; Dante's lines are longer
_PIECE = 1024


class SavedLog(msgspec.Struct):
    """What was read of a log, as a restart needs it."""

    lines: int
    unparsed: int
    sessions: SavedSessions


class DanteLog:
    """Counts what a log says, chunk by chunk.

    Attributes:
        sessions: What it says.
        lines: Lines seen.
        unparsed: Lines that Dante does not write.
        example: The last of those, cut, from a chunk that has lines of Dante's too: the lines of a file that
            is none of Dante's are not shown.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.lines = 0
        self.unparsed = 0
        self.example = b""
        self._doubtful = b""
        self._anchor: tuple[float, float] | None = None

    def take(self, chunk: bytes) -> None:
        """Count complete lines."""
        for _ in self.steps(chunk):
            pass

    def steps(self, chunk: bytes) -> Iterator[None]:
        """Counts complete lines; pauses after each line of an unusual form, as these may take long.

        What is usual in the course of a client's CONNECT is counted here; all else makes records.
        """
        for piece in _pieces(chunk):
            yield from self._steps(piece)

    def _steps(self, chunk: bytes) -> Iterator[None]:  # noqa: C901, PLR0915 - one loop: calls cost
        sessions = self.sessions
        connections, settings, totals = sessions.connections, sessions.settings, sessions.totals
        doubtful, given_up = sessions.table.doubtful, sessions.table.given_up
        setups: list[float] = []
        durations: list[float] = []
        received, given = totals.received, totals.sent
        add_bytes, add_duration = sessions.counting.by_bytes.add, sessions.counting.last_durations.append
        last, start, time, known = None, 0, 0.0, False
        within, longest = SAID_WITHIN, LONGEST_SETUP
        self._doubtful = b""
        self._anchor = None
        rows = fast_path.split(unwrap_all(chunk))
        self.lines += len(rows)
        for row in rows:
            (
                second, micros, pid, command, sent, _, key, _, written, target, _, _, said, gone,
                refused, blocked, _, _, other,
            ) = row  # fmt: skip
            if second != last:
                sessions.settle(time, setups, durations)
                if not second:
                    known |= self._take_any(other)
                    settings, last = sessions.settings, None
                    yield
                    continue
                last, known = second, True
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
                    if (duration > within or said != b"0") and abs(duration - int(said)) > within:
                        duration = float(said)  # the clock was changed meanwhile
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
                    and 0 <= connection.accepted <= time <= connection.accepted + longest
                ):
                    connection.outcome, connection.command, connection.pid = GRANTED, "connect", pid
                    setups.append(time - connection.accepted)
                    continue
            elif refused == b"accept" and sessions.disconnected(blocked, time):
                continue
            for record in fast_path.records(row, start, time):
                sessions.apply(record)
        sessions.settle(time, setups, durations)
        if known and self._doubtful:
            self.example = self._doubtful

    def _take_any(self, line: bytes) -> bool:
        """Whether it was a line of Dante's."""
        try:
            record = dante_line.parse(line)
        except ParseError:
            self.unparsed += 1
            self._doubtful = line[:_EXAMPLE]
            return False
        if record is not None:
            self.sessions.add(record)
        return record is not None

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

    def save(self) -> SavedLog:
        """Everything, for `restore`; shares its parts, so encode it at once."""
        return SavedLog(self.lines, self.unparsed, self.sessions.save())

    def restore(self, saved: SavedLog) -> None:
        """Go on from what `save` gave."""
        self.sessions.restore(saved.sessions)
        self.lines, self.unparsed = saved.lines, saved.unparsed


def _pieces(chunk: bytes) -> Iterator[bytes]:
    """The chunk; of one that has very many lines a few at a time."""
    if chunk.count(b"\n") <= _MANY_LINES:
        yield chunk
        return
    start = 0
    while start < len(chunk):
        end = chunk.find(b"\n", start + _PIECE) + 1 or len(chunk)
        yield chunk[start:end]
        start = end
