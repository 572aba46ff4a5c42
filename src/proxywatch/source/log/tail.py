"""The lines that are appended to a log, over every way in which logs are rotated.

A log is a row of files, each known by its first bytes wherever it is. Every look asks what has the path:

- The file that had it: read on. It may have been cut (`copytruncate`): what was not read is in the copy, a
  file beside the log that holds the bytes before the position where the reading stood. It is read to its end;
  then the log is read from its start. One that was only shortened is read on from where it still fits.
- Another: the old file, renamed or removed, is read on too, as its writers notice late or never. It is let go
  a minute after its last line if it has no name any more, or when seven newer ones are kept.
- In both cases there may have been more than one turn since the last look. Files beside the log that were
  written since are read in the order of their last writes, unless they begin as one that is known.

Nothing here knows a format. The order of lines is kept within a file. One `read` does a bounded amount.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from proxywatch.errors import SourceError
from proxywatch.source import file
from proxywatch.source.log import rotated
from proxywatch.source.log.followed import LONG_AGO, Followed, opened
from proxywatch.source.log.inotify import DirectoryWatch
from proxywatch.source.log.logfile import CutError, LogFile
from proxywatch.source.log.position import NOWHERE, FilePosition, Position, Progress
from proxywatch.source.log.rotated import Rotated

_COARSE = 0.05  # what the times of a file system may be behind


class Tail:
    """Follows a log by its path.

    Attributes:
        read_bytes: Handed out so far.
        rotations: Times that another file took the path.
        truncations: Times that a file was cut.
        more: Whether the last read gave nothing only because it had done enough for once.
    """

    def __init__(
        self,
        path: str,
        monotonic: Callable[[], float],
        *,
        at_end: bool = True,
        position: Position = NOWHERE,
    ) -> None:
        """Touch nothing yet.

        Args:
            path: The log's.
            monotonic: A clock, in seconds.
            at_end: Whether to begin at the end of a log that is there already; one that appears later is read
                from its beginning.
            position: How far an earlier run had read; then nothing written since is left out.
        """
        self.path = path
        self.read_bytes = 0
        self.rotations = 0
        self.truncations = 0
        self.more = False
        self._monotonic = monotonic
        self._at_end = at_end
        self._earlier = position
        self._seen = (
            position.seen
        )  # the last write to the log when it was last read, and all older files with it
        self._started = False
        self._lost = 0
        self._files = Followed(monotonic)
        self._watch = DirectoryWatch(os.path.dirname(os.path.realpath(path)))  # noqa: PTH120 - as above

    @property
    def gaps(self) -> int:
        """Files that were not found again, or could not be read to their end: lines may be missing."""
        return self._lost + self._files.gaps

    async def changed(self, timeout: float) -> None:  # noqa: ASYNC109 - the longest it may take is the point
        """Return when something in the log's directory changed, after `timeout` seconds at the latest."""
        await self._watch.changed(timeout)

    def read(self, limit: int) -> bytes:
        """Complete lines, from the oldest file that has some; when empty, see `more`.

        Raises:
            SourceError: No file can be read: the log is absent, or not permitted, or its disk fails.
        """
        self.more = False
        trouble = None
        try:
            if not self._started:
                self._start()
            try:
                written = self._look()
            except SourceError as error:
                written, trouble = None, error
            lines = self._read(limit, written)
        except OSError as error:
            raise file.unreadable(self.path, error) from error
        self.read_bytes += len(lines)
        if not lines and not self.more:
            self._files.forget()
            if trouble is not None:
                raise trouble
        return lines

    def _read(self, limit: int, written: float | None) -> bytes:
        self._learn(written)
        files = iter(self._files)
        while log := next(files, None):
            try:
                lines = log.read(limit)
            except CutError:
                self._cut(log)
                files = iter(self._files)
                continue
            except OSError:
                if log is self._files.current:
                    raise
                self._files.drop(log, gap=True)
                continue
            if log is self._files.current and written is not None:
                self._seen = written
            if lines or log.more:
                log.touched = self._monotonic()
                self.more = not lines
                return lines
            if log.copy:
                self._files.drop(log)
        return b""

    def _learn(self, written: float | None) -> None:
        current = self._files.current
        empty = current is not None and not current.head
        learned = [log for log in self._files if log.learn()]
        self._files.drop_copies(log for log in learned if not log.position.offset)
        if empty and current is not None and (current.head or (written or 0.0) > self._seen):
            self._follow_missed(current)  # it may have had lines and was cut since

    # Who has the path

    def _look(self) -> float | None:
        """The time of the last write to what has the path, which is followed from now on; None without any.

        Raises:
            SourceError: It is absent or cannot be read, and no other file is likely to have lines.
        """
        there = self._there()
        if there is None:
            if all(map(self._files.quiet, self._files)):
                raise file.unreadable(self.path, FileNotFoundError(2, "no such file"))
            return None
        identity, written = there
        if self._files.current is None or identity != self._files.current.identity:
            self._follow_current(self._files.of(identity) or self._turned(LogFile(self.path)))
        return written

    def _follow_current(self, log: LogFile) -> None:
        self._files.current = log
        log.copy = False

    def _there(self) -> tuple[tuple[int, int], float] | None:
        try:
            state = os.stat(self.path)  # noqa: PTH116 - pathlib costs 1 MB
        except FileNotFoundError:
            return None
        except OSError as error:
            raise file.unreadable(self.path, error) from error
        return (state.st_dev, state.st_ino), state.st_mtime

    def _turned(self, log: LogFile) -> LogFile:
        """Follow what has the path now, after what was missed."""
        before = self._files.current
        if before is not None:
            before.learn()
            before.touched = self._monotonic()
        try:
            self._pass_known(log)
        except OSError:
            log.close()
            raise
        self.rotations += not all(map(self._files.settled, self._files))
        self._files.follow(log)
        self._follow_missed(log)
        return log

    def _pass_known(self, log: LogFile) -> None:
        """Go on with a copy that was put in the place of what it was made of; stand at the end of another.

        What was renamed was not replaced by a copy: the new one may hold the same, as when a log is replayed.
        """
        before = self._files.current
        if before is not None and rotated.named(self.path, [before.identity]):
            before = None
        if before is not None and log.go_on(before.position):
            before.to_end()
        elif self._files.knows(log.head, filter(None, [before])):
            log.to_end()

    def _cut(self, log: LogFile) -> None:
        """Go on in what a cut file holds now; first in the rest of its copy, if there is one."""
        self.truncations += 1
        position = log.position
        if log.go_on(position):
            return
        if log.copy:  # before it was read to its end
            self._files.drop(log, gap=True)
            return
        self._files.known.add(position.head)
        log.restart()
        rest = self._rest(position)
        if rest is not None:
            self._files.follow(rest, before=log)
        elif rotated.packed_since(self.path, self._seen - _COARSE):
            self._lost += 1  # its copy was compressed before it was read to its end, or may have been
        if log is self._files.current:
            self._follow_missed(log)
        elif self._files.current is not None and rotated.alike(log.head, self._files.current.begins()):
            self._files.drop(log)
        else:
            self._files.drop_copies([log])

    def _rest(self, position: FilePosition) -> LogFile | None:
        for _ in rotated.looks(self.path):
            rest = self._files.holding(position, rotated.beside(self.path))
            if rest is not None:
                return rest
        return None

    def _follow_missed(self, newest: LogFile) -> None:
        """Follow what had the path since the last look, or is a copy of what had it, before the newest."""
        for log in self._files.missed(self.path, self._seen):
            self.rotations += 1
            self._files.follow(log, before=newest)

    # The start

    def _start(self) -> None:
        """Follow what is there; or, on any trouble, nothing, so that it can be tried again."""
        if self._earlier.files or self._earlier.known:
            for _ in rotated.looks(self.path):
                self._undo()
                self._open(self._resume)
        else:
            self._open(self._begin)
        self._at_end = False
        self._started = True

    def _open(self, follow: Callable[[LogFile | None], None]) -> None:
        try:
            newest = None if self._there() is None else LogFile(self.path)
        except SourceError as error:
            self._at_end = self._at_end and not error.temporary
            raise
        try:
            follow(newest)
        except (OSError, SourceError):
            if newest is not None:
                newest.close()
            self._undo()
            raise

    def _undo(self) -> None:
        self._files.close()
        self._files = Followed(self._monotonic)
        self._seen = self._earlier.seen
        self._lost = self.rotations = 0

    def _begin(self, newest: LogFile | None) -> None:
        """Follow the log, and at its end what was rotated last, as there may be late writers."""
        there = [it for it in rotated.beside(self.path) if newest is None or it.identity != newest.identity]
        self._seen = there[-1].written if there else 0.0
        late = opened(there[-1].path) if there else None
        if late is not None:
            late.to_end()
            self._files.follow(late, quiet=True)
        self._files.remember(there)
        if newest is not None:
            if self._at_end:
                newest.to_end()
            self._seen = newest.written_at()
            self._files.follow(newest)
            self._follow_current(newest)

    def _resume(self, newest: LogFile | None) -> None:
        """Find the files of an earlier run again, wherever they are now; those that came since follow."""
        there = rotated.beside(self.path)
        if newest is not None:
            there.append(Rotated(self.path, newest.identity, newest.size(), newest.written_at()))
        positions, known = self._earlier.files, self._earlier.known
        paths = rotated.named(self.path, {position.identity for position in (*positions, *known)})
        paths |= {it.identity: it.path for it in there}
        again, moved = partial(self._again, paths), partial(self._moved, there)
        for position in known:
            gone = again(position, quiet=True) is None
            if gone and not (
                position.inode and any(rotated.alike(position.head, it.head) for it in positions)
            ):
                self._files.known.add(position.head)
        found = [again(position) if position.head or position.mark else None for position in positions]
        sure = all(found)
        for find in (moved, again):  # nothing tells an empty file from others: it comes last
            for index in reversed(
                range(len(positions))
            ):  # a copy is gone on with from the latest position in it
                if found[index] is None:
                    found[index] = find(positions[index], before=next(filter(None, found[index + 1 :]), None))
        self._seen = self._earlier.seen - _COARSE if self._earlier.seen else self._written_last()
        if newest is not None:
            self._resume_current(newest, sure=sure)
        empty = {position.identity for position in positions if not (position.head or position.mark)}
        self._files.drop_copies(log for log in self._files if log.identity in empty)
        self._files.remember(it for it in there if it.written < self._seen)

    def _again(
        self,
        paths: Mapping[tuple[int, int], str],
        position: FilePosition,
        *,
        before: LogFile | None = None,
        quiet: bool = False,
    ) -> LogFile | None:
        """Follow a file of an earlier run that is still the same."""
        path = paths.get(position.identity)
        log = opened(path, at=position) if path and self._files.of(position.identity) is None else None
        if log is not None:
            self._files.follow(log, before=before, quiet=quiet)
        return log

    def _moved(
        self, there: Sequence[Rotated], position: FilePosition, *, before: LogFile | None
    ) -> LogFile | None:
        """Follow the copy of a file of an earlier run; a gap when it is nowhere."""
        if not (position.mark or position.head) or position.head in self._files.known:
            return None  # or it was cut since, and its copy was read to its end
        log = self._files.holding(position, (it for it in there if it.path == self.path))
        if log is None and not self._files.holds(position):
            log = self._files.holding(position, there)
            self._lost += log is None
        if log is not None:
            self._files.follow(log, before=before)
        return log

    def _resume_current(self, newest: LogFile, *, sure: bool) -> None:
        log = self._files.of(newest.identity)
        if log is None:
            newest.restart()  # it may have been cut since it was opened
            log = self._turned(newest)
        else:
            newest.close()
            if not sure:  # one was cut, or may have been: nothing is known of an empty file
                self._follow_missed(log)
        self._follow_current(log)

    def _written_last(self) -> float:
        return max((log.written_at() for log in self._files), default=math.inf)

    # How far it is

    def unread(self) -> int:
        """Bytes that wait in all files followed."""
        return sum(log.unread() for log in self._files)

    def written_at(self) -> float | None:
        """Unix time of the last write to any file that was read; None before there is one."""
        read = (log for log in self._files if log.position.offset and log.touched != LONG_AGO)
        return max((log.written_at() for log in read), default=None)

    def position(self) -> Position:
        """How far it was read, for the next run."""
        if not self._started:
            return self._earlier
        settled = [log for log in self._files if self._files.settled(log)]
        quiet = [log.position for log in settled if log.head]
        heads = [FilePosition(0, 0, 0, b"", head) for head in self._files.known]
        files = [log.position for log in self._files if log not in settled]
        return Position(tuple(files), (*quiet, *heads), self._seen)

    @property
    def progress(self) -> Progress:
        """How much was read."""
        return Progress(self.read_bytes, self.rotations, self.truncations, self.gaps)

    def close(self) -> None:
        """Let go of every file."""
        self._files.close()
        self._watch.close()
