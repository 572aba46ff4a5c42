"""Follows Dante's log as it grows: reads it in slices, counts it, and keeps a checkpoint.

Everything goes by the log's own clock. While lines wait to be read it stands at the last one. Once all is
read it runs on from there: that line is as old as the file's last write, and from then on the monotonic clock
counts. So the windows slide while the log is silent, whatever the time zone, the skew or the age of the log.

One call reads for half a second at most, in slices of three milliseconds after each of which the loop is
free. The clock is looked at after each piece of 32 KiB, and within it after each line of an unusual form; so
a line that took long would delay others by its own time alone, and no line of more than 4 KiB is parsed.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from proxywatch.clock import Clock
from proxywatch.dante.log import DanteLog, SavedLog
from proxywatch.dante.silence import Silence
from proxywatch.errors import ParseError, SourceError
from proxywatch.source import checkpoint
from proxywatch.source.log import lines
from proxywatch.source.log.lines import Lines
from proxywatch.source.log.position import Position, Progress
from proxywatch.source.log.splitter import CHUNK

log = logging.getLogger(__name__)

SLICE = 0.003
_YIELD_RATIO = (
    0.7  # of what a slice took: who leaves a busy machine some of his share is let in at once later
)
_BUDGET = 0.5
_PAUSE = 1.0  # after a look that found lines: each costs half a millisecond, however few it finds
_LOOK = 1.0
_SAVE = 15.0
_FORMAT = 3
_UNIX = 1e9  # a stamp below is no Unix time


class Checkpoint(msgspec.Struct):
    """What a restart goes on from.

    Attributes:
        format: Of this structure.
        position: How far the log was read.
        progress: How much was read.
        log: What it says.
    """

    format: int
    position: Position
    progress: Progress
    log: SavedLog


class FollowedLog:
    """A log and what it says.

    Attributes:
        log: What it says.
        silence: Whether it shows the requests that succeed.
        more: Whether lines wait to be read.
        was_read: Whether it was read at least once.
        checkpoint_fault: Why the checkpoint could not be written; empty when it could.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        log: DanteLog,
        *,
        at_end: bool = True,
        checkpoint: str = "",
        succeeded: Callable[[], int] = lambda: 0,
    ) -> None:
        """Touch nothing yet.

        Args:
            path: Of a file or a FIFO; `-` for standard input.
            clock: Both clocks of the machine.
            log: Counts what is read.
            at_end: Whether to begin at the end of a log that is there already, when there is no checkpoint.
            checkpoint: A file that keeps position and totals over a restart; empty for none.
            succeeded: Returns how many of our own probes have succeeded.
        """
        self.log = log
        self.silence = Silence(log.sessions)
        self.more = True
        self.was_read = False
        self.checkpoint_fault = ""
        self._path = path
        self._clock = clock
        self._at_end = at_end
        self._checkpoint = checkpoint
        self._succeeded = succeeded
        self._lines: Lines | None = None
        self._looked, self._busy = 0.0, False
        self._saved_at = float("-inf")
        self._saved: tuple[Position, Progress] | None = None
        self._before = Progress()
        self._resumed: Position | None = None

    async def changed(self) -> None:
        """Return at once while there is more, else when something changes, a second later at the latest."""
        if self.more:
            return
        if self._busy:
            await self._clock.sleep_until(self._looked + _PAUSE)
        if self._lines is not None:
            await self._lines.changed(_LOOK)
        else:
            await self._clock.sleep_until(self._looked + _LOOK)

    async def read(self) -> None:
        """Read and count what was appended.

        Raises:
            SourceError: The log is absent or may not be read.
        """
        self.more = False
        try:
            await self._read(self._follow())
            self.was_read = True
        finally:
            self._looked = self._clock.monotonic()
        if self._looked - self._saved_at >= _SAVE:
            await self.save()

    async def _read(self, source: Lines) -> None:
        begin = slice_begin = self._clock.monotonic()
        self._busy = False
        while (chunk := source.read(CHUNK)) or source.more:
            self._busy = True
            slice_begin = await self._count(chunk, slice_begin)
            now = self._clock.monotonic()
            if now - begin >= _BUDGET:
                self.more = True
                return
            slice_begin = await self._yielded(now, slice_begin)
        written = source.written_at()
        age = 0.0 if written is None else self._clock.now() - written
        self.log.caught_up(age, self._clock.monotonic())
        self.silence.caught_up(self._succeeded(), self._clock.monotonic())

    async def _count(self, chunk: bytes, slice_begin: float) -> float:
        """Count a chunk to its end, whatever happens meanwhile: its lines are not read again."""
        steps = self.log.steps(chunk)
        try:
            for _ in steps:
                slice_begin = await self._yielded(self._clock.monotonic(), slice_begin)
        finally:
            for _ in steps:
                pass
        return slice_begin

    async def _yielded(self, now: float, slice_begin: float) -> float:
        if now - slice_begin < SLICE:
            return slice_begin
        await asyncio.sleep((now - slice_begin) * _YIELD_RATIO)
        return self._clock.monotonic()

    def _follow(self) -> Lines:
        if self._lines is None:
            if self._resumed is None:
                self._resumed = self._restore()
            try:
                self._lines = lines.follow(
                    self._path, self._clock.monotonic, at_end=self._at_end, position=self._resumed
                )
            except SourceError as error:
                # A log that appears later is read from its first line on.
                self._at_end = self._at_end and not error.temporary
                raise
        return self._lines

    # The checkpoint

    def _restore(self) -> Position:
        if not self._checkpoint:
            return Position()
        kept = checkpoint.read(self._checkpoint)
        fault, content, saved = kept.fault, kept.content, None
        while content is not None and saved is None:
            try:
                saved = _decoded(content)
                self.log.restore(saved.log)
            except ParseError as error:
                fault, saved = fault or str(error), None
                content = checkpoint.set_aside(self._checkpoint)
        if fault:
            used = "counting begins anew" if saved is None else "the one before is used"
            log.warning(
                "checkpoint is set aside", extra={"path": self._checkpoint, "reason": f"{fault}; {used}"}
            )
        if saved is None:
            return Position()
        self._before = saved.progress
        return saved.position

    async def save(self) -> None:
        """Keep position and totals, where they have changed; a file that cannot be written is said once."""
        self._saved_at = self._clock.monotonic()
        if not self._checkpoint or self._lines is None:
            return
        state = (self._lines.position(), self.progress)
        if state == self._saved:
            return
        content = msgspec.msgpack.encode(Checkpoint(_FORMAT, *state, self.log.save()))
        try:
            await asyncio.to_thread(checkpoint.write, self._checkpoint, content)
        except SourceError as error:
            if not self.checkpoint_fault:
                log.warning("checkpoint cannot be written", extra={"reason": str(error)})
            self.checkpoint_fault = str(error)
            return
        if self.checkpoint_fault:
            log.info("checkpoint is written again", extra={"path": self._checkpoint})
        self.checkpoint_fault = ""
        self._saved = state

    async def close(self) -> None:
        """Keep position and totals, and let go of the log."""
        try:
            await self.save()
        finally:
            if self._lines is not None:
                self._lines.close()
                self._lines = None

    # How far it is

    @property
    def progress(self) -> Progress:
        """How much was read, by earlier runs too."""
        return self._before + (self._lines.progress if self._lines else Progress())

    def now(self) -> float:
        """The time by the log's own clock, in seconds."""
        return self.log.now(self._clock.monotonic())

    def unread(self) -> int:
        """Bytes that wait to be read."""
        return self._lines.unread() if self._lines else 0

    def lag(self) -> float | None:
        """Seconds from the last line read to the last write; 0 when all is read; None without a log."""
        if self._lines is None or not self.was_read:
            return None
        written = self._lines.written_at()
        clock = self.log.sessions.clock
        if not self.more or written is None or clock < _UNIX:
            return 0.0
        return max(0.0, written - clock)


def _decoded(content: bytes) -> Checkpoint:
    try:
        saved = msgspec.msgpack.decode(content, type=Checkpoint)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise ParseError("it is no checkpoint, or one of another version") from error
    if saved.format != _FORMAT:
        raise ParseError("it is a checkpoint of another version")
    return saved
