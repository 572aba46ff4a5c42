"""The lines that are appended to a log, over every way in which logs are rotated.

- Renamed, or removed: the old file is read on while the new one is, as its writers notice late or never. It
  is let go when it was quiet for ten minutes, one minute if it has no name any more, or when seven newer ones
  are kept.
- Cut (`copytruncate`): what was not read yet is looked for in the copy, a file beside the log that holds the
  same bytes before the place where the reading stood; then the log is read from its start.
- Rotated more than once between two looks, or while nobody looked: files beside the log that came since are
  read in the order of their last writes, copies excepted.

Nothing here knows a format. The order of lines is kept within a file.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from proxywatch.errors import SourceError
from proxywatch.source import file
from proxywatch.source.inotify import DirectoryWatch
from proxywatch.source.logfile import CutError, LogFile, Place

_PATIENCE = 600.0
_PATIENCE_UNNAMED = 60.0
_MOST = 8
_COARSE = 0.05  # what the times of a file system may be behind
_GZIP = b"\x1f\x8b"


class Tail:
    """Follows a log by its path.

    Attributes:
        read_bytes: Handed out so far.
        rotations: Times that another file took the path.
        truncations: Times that a file was cut.
        gaps: Places of an earlier run that were not found again: lines may be missing.
    """

    def __init__(
        self,
        path: str,
        monotonic: Callable[[], float],
        *,
        at_end: bool = True,
        places: Sequence[Place] = (),
        since: float = 0.0,
    ) -> None:
        """Touch nothing yet.

        Args:
            path: The log's.
            monotonic: A clock, in seconds.
            at_end: Whether to begin at the end of a log that is there already; one that appears later is read
                from its beginning.
            places: Where an earlier run stood; then nothing written since is left out.
            since: When it stood there, in Unix seconds.
        """
        self.path = path
        self.read_bytes = 0
        self.rotations = 0
        self.truncations = 0
        self.gaps = 0
        self._monotonic = monotonic
        self._since = since
        self._at_end = at_end
        self._places = places
        self._started = False
        self._files: list[LogFile] = []
        self._current: LogFile | None = None
        self._beside: dict[tuple[int, int], str] = {}
        self._watch = DirectoryWatch(os.path.dirname(os.path.realpath(path)))  # noqa: PTH120 - as above

    async def changed(self, timeout: float) -> None:  # noqa: ASYNC109 - the longest it may take is the point
        """Return when something in the log's directory changed, after `timeout` seconds at the latest."""
        await self._watch.changed(timeout)

    def read(self, limit: int) -> bytes:
        """Complete lines, from the oldest file that has some.

        Raises:
            SourceError: No file can be read: the log is absent, or not permitted, or its disk fails.
        """
        try:
            if not self._started:
                self._start()
            lines = self._read(limit)
            if not lines and self._look():
                lines = self._read(limit)
        except OSError as error:
            raise file.unreadable(self.path, error) from error
        self.read_bytes += len(lines)
        return lines

    def _read(self, limit: int) -> bytes:
        for log in self._files:
            log.look_ahead()
        for log in tuple(self._files):
            try:
                lines = log.read(limit)
            except CutError:
                self._cut(log)
                return self._read(limit)
            if lines:
                log.touched = self._monotonic()
                return lines
        return b""

    def _cut(self, log: LogFile) -> None:
        """Go to the start of a log that was cut; first to the rest of its copy, if there is one."""
        self.truncations += 1
        place = log.place
        log.restart()
        copy = self._holder(place, self._siblings())
        if copy is not None:
            self._files.insert(self._files.index(log), copy)
            copy.touched = self._monotonic()

    def _holder(self, place: Place, paths: dict[tuple[int, int], str]) -> LogFile | None:
        """The file that holds what was read before a place."""
        if not (place.mark or place.ahead):
            return None
        for path in paths.values():
            with suppress(SourceError):
                found = LogFile.resume(path, place)
                if found is not None:
                    return found
        return None

    def _look(self) -> bool:
        """Whether the path leads to a file that was not followed yet; forget those that are long quiet."""
        self._forget()
        identity = self._there()
        if identity is None or (self._current is not None and identity == self._current.identity):
            if identity is None and not self._files:
                raise file.unreadable(self.path, FileNotFoundError(2, "no such file"))
            return False
        known = next((log for log in self._files if log.identity == identity), None)
        if known is not None:
            self._current = known
            return False
        self._rotated(LogFile(self.path, at_end=self._at_end and not self._files))
        return True

    def _rotated(self, log: LogFile) -> None:
        if self._current is not None:
            self._current.touched = self._monotonic()
            self._between(log, since=self._current.written_at())
        elif self._places:  # nothing had the path when we started
            self._since_places(log)
        self._take_over(log)

    def _take_over(self, log: LogFile) -> None:
        self.rotations += bool(self._files)
        self._current = log
        self._at_end = False
        self._files.append(log)
        self._beside = self._siblings()
        for old in self._files[:-_MOST]:
            if not old.unread():
                self._files.remove(old)
                old.close()

    def _between(self, newest: LogFile, since: float) -> None:
        """Follow the files that had the path since, and lost it again before they were seen."""
        ours = {log.identity for log in self._files} | {newest.identity}
        heads = {log.head() for log in (*self._files, newest)}
        found = []
        for identity, path in self._siblings().items():
            if identity in ours or identity in self._beside:
                continue
            with suppress(SourceError):
                log = LogFile(path)
                head = log.head()
                if not head or head in heads or head.startswith(_GZIP) or log.written_at() < since:
                    log.close()
                else:
                    found.append(log)
        for log in sorted(found, key=LogFile.written_at):
            self.rotations += 1
            log.touched = self._monotonic()
            self._files.append(log)

    def _there(self) -> tuple[int, int] | None:
        try:
            state = os.stat(self.path)  # noqa: PTH116 - pathlib costs 1 MB
        except FileNotFoundError:
            return None
        except OSError as error:
            raise file.unreadable(self.path, error) from error
        return state.st_dev, state.st_ino

    def _siblings(self) -> dict[tuple[int, int], str]:
        """The log's rotated files by identity, the log itself excepted."""
        directory, name = os.path.split(os.path.realpath(self.path))
        siblings = {}
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(name) and entry.name != name and entry.is_file():
                    state = entry.stat()
                    siblings[state.st_dev, state.st_ino] = entry.path
        return siblings

    def _forget(self) -> None:
        now = self._monotonic()
        for log in [log for log in self._files if log is not self._current]:
            patience = _PATIENCE if log.named() else _PATIENCE_UNNAMED
            if now - log.touched > patience:
                self._files.remove(log)
                log.close()

    def _start(self) -> None:
        self._beside = self._siblings()
        if self._places:
            self._resume()
        elif self._there() is None:
            self._at_end = False
        self._started = True

    def _resume(self) -> None:
        """Find the files of an earlier run again, wherever they are now; those that came since follow."""
        self._at_end = False
        identity = self._there()
        paths = {identity: self.path, **self._beside} if identity else dict(self._beside)
        for place in self._places:
            if not (place.mark or place.ahead):
                continue  # nothing was read of it: it is among those that came since
            log = self._found(place, paths)
            if log is None:
                self.gaps += 1
            else:
                log.touched = self._monotonic()
                self._files.append(log)
        if self._files and self._files[-1].identity == identity:
            self._current = self._files[-1]
        elif identity is not None:
            newest = LogFile(self.path)
            self._since_places(newest)
            self._take_over(newest)

    def _since_places(self, newest: LogFile) -> None:
        """Follow what had the path after the files of an earlier run, and lost it before this one saw it."""
        self._beside = {}
        written = self._files[-1].written_at() if self._files else float("inf")
        self._between(newest, self._since - _COARSE if self._since else written)

    def _found(self, place: Place, paths: dict[tuple[int, int], str]) -> LogFile | None:
        path = paths.get(place.identity)
        if path is not None:
            with suppress(SourceError):
                log = LogFile.resume(path, place)
                if log is not None:
                    return log
        return self._holder(place, paths)

    def unread(self) -> int:
        """Bytes that wait in all files followed."""
        return sum(log.unread() for log in self._files)

    def written_at(self) -> float | None:
        """Unix time of the last write to any file followed; None before there is one."""
        return max(self._written(), default=None)

    def _written(self) -> Iterator[float]:
        for log in self._files:
            if log.place.offset:
                yield log.written_at()

    def places(self) -> list[Place]:
        """Where the reading of each file stands, the oldest first."""
        return [log.place for log in self._files]

    def close(self) -> None:
        """Let go of every file."""
        for log in self._files:
            log.close()
        self._files.clear()
        self._watch.close()
        self._current = None
