"""A whole log: its lines in, the account of its sessions out, and the time by the log's own clock."""

from collections.abc import Sequence

import msgspec

from proxywatch.errors import ParseError
from proxywatch.parse import dante_log
from proxywatch.parse.dante_log import Closed, Command, Moved
from proxywatch.state.dante_books import FAILED, GRANTED, Saved
from proxywatch.state.log_settings import ENOUGH
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

    def take(self, chunk: bytes) -> None:
        """Account for complete lines.

        The lines of a session by TCP that was seen from its begin go straight to what a record of them would
        lead to; every other line is parsed.
        """
        sessions = self.sessions
        connections, settings = sessions.connections, sessions.settings
        self.lines += chunk.count(b"\n")
        self._anchor = None
        for (
            lines, stamp, pid, accepted, disconnected, connected,
            sent, ended, inside, received, target, returned, reason, gone, command, blocked, proxy, asked, why,
        ) in dante_log.split(chunk):  # fmt: skip
            if accepted:
                sessions.accepted(accepted, float(stamp))
                continue
            if connected:
                sessions.granted(connected, float(stamp), pid, "connect")
                continue
            client = ended or blocked or disconnected
            connection = connections.get(client)
            if connection is None or sessions.settings.ends < ENOUGH:
                self._take_any(lines)  # nothing plain, or it still proves something about the settings
                continue
            accounted = connection.ended or connection.outcome == FAILED
            if ended and not accounted:
                if connection.outcome == GRANTED:
                    sessions.relayed(connection, target, int(received), int(sent))
                else:
                    moved = Moved(int(sent), int(received), int(returned))
                    time = float(stamp)
                    sessions.add(
                        Closed(time, pid, "connect", ended, inside, target, reason, passed=True, moved=moved)
                    )
                if gone:
                    sessions.disconnected(ended, connection, float(gone))
            elif blocked and not accounted:
                what: Command = "accept" if command == b"accept" else "connect"
                sessions.add(Closed(float(stamp), pid, what, blocked, proxy, asked, why, passed=False))
            elif accounted and (disconnected or command == b"accept"):
                sessions.disconnected(client, connection, float(stamp))
            else:
                self._take_any(lines)

    def _take_any(self, lines: bytes) -> None:
        for line in lines.split(b"\n"):
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
