"""The files that are followed, in the order in which they are read, and what is known of all others.

Both are bounded: eight files, up to 64 while lines wait in them; of others, how the last 64 began.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from proxywatch.errors import SourceError
from proxywatch.source.log import rotated
from proxywatch.source.log.logfile import LogFile
from proxywatch.source.log.position import FilePosition
from proxywatch.source.log.rotated import Known, Rotated

_PATIENCE = 600.0
_PATIENCE_UNNAMED = 60.0
_MOST = 8
_MOST_UNREAD = 64
LONG_AGO = float("-inf")


class Followed:
    """Files and how far each was read.

    Attributes:
        current: The one that has the log's path, as far as is known.
        known: How files began that were read and are not followed.
        gaps: Files that went unread.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.current: LogFile | None = None
        self.known = Known()
        self.gaps = 0
        self._monotonic = monotonic
        self._files: list[LogFile] = []

    def __iter__(self) -> Iterator[LogFile]:
        """The oldest first, as they are now, whatever happens to them meanwhile."""
        return iter(tuple(self._files))

    def of(self, identity: tuple[int, int]) -> LogFile | None:
        """The one of an identity."""
        return next((log for log in self._files if log.identity == identity), None)

    def follow(self, log: LogFile, *, before: LogFile | None = None, quiet: bool = False) -> None:
        """Take one in, before another or as the newest; let go of the oldest when they are too many.

        Args:
            log: Opened.
            before: The one that is read next.
            quiet: Whether a line is hardly to be expected.
        """
        log.touched = LONG_AGO if quiet else self._monotonic()
        index = len(self._files) if before is None else self._files.index(before)
        self._files.insert(index, log)
        for old in self:
            if len(self._files) <= _MOST:
                break
            if old not in (self.current, before, log):
                unread = not old.done()
                if not unread or len(self._files) > _MOST_UNREAD:
                    self.drop(old, gap=unread)

    def drop(self, log: LogFile, *, gap: bool = False) -> None:
        """Let go of one, but know it."""
        self.gaps += gap
        self.known.add(log.head)
        self._files.remove(log)
        log.close()

    def drop_copies(self, suspects: Iterable[LogFile]) -> None:
        """Let go of old files that something was written over which is known, or is followed elsewhere."""
        copies: list[LogFile] = []
        for log in suspects:
            others = (it for it in self._files if it is not log and it not in copies)
            if log is not self.current and self.knows(log.head, others):
                copies.append(log)
        for log in copies:
            self.drop(log)

    def settled(self, log: LogFile) -> bool:
        """Whether a line is hardly to be expected."""
        return log is not self.current and self.quiet(log)

    def quiet(self, log: LogFile) -> bool:
        """Whether its last line came long ago."""
        return self._monotonic() - log.touched > _PATIENCE

    def forget(self) -> None:
        """Let go of those without a name that are quiet: they keep the disk full."""
        now = self._monotonic()
        for log in self:
            if log is not self.current and now - log.touched > _PATIENCE_UNNAMED and not log.named():
                self.drop(log)

    def close(self) -> None:
        """Let go of all."""
        for log in self._files:
            log.close()
        self._files.clear()
        self.current = None

    # Files beside the log

    def missed(self, path: str, since: float) -> list[LogFile]:
        """Files beside the log that were written since and are not known, the last written last; opened."""
        missed: dict[LogFile, float] = {}
        for _ in rotated.looks(path):
            for beside in sorted(rotated.beside(path), key=lambda beside: beside.size, reverse=True):
                if beside.written >= since:
                    self._add(missed, beside)
        return sorted(missed, key=missed.__getitem__)

    def _add(self, missed: dict[LogFile, float], beside: Rotated) -> None:
        others = (*self._files, *missed)
        taken = {it.identity for it in others}
        log = None if beside.identity in taken else opened(beside.path)
        if log is None:
            return
        if log.identity in taken or rotated.compressed(log.head) or self.knows(log.head, others):
            log.close()
        else:
            missed[log] = beside.written

    def knows(self, head: bytes, others: Iterable[LogFile]) -> bool:
        """Whether a file begins as one that was read, or as one of the others."""
        return head in self.known or any(rotated.alike(head, log.head) for log in others)

    def holding(self, position: FilePosition, candidates: Iterable[Rotated]) -> LogFile | None:
        """Of the candidates not followed that hold a position, the longest, standing there."""
        for candidate in sorted(candidates, key=lambda candidate: candidate.size, reverse=True):
            if candidate.size >= position.offset and self.of(candidate.identity) is None:
                log = opened(candidate.path, at=position)
                if log is not None:
                    log.copy = True
                    return log
        return None

    def holds(self, position: FilePosition) -> bool:
        """Whether one that is followed has what was read before a position."""
        for log in self._files:
            with suppress(OSError):
                if log.holds(position):
                    return True
        return False

    def remember(self, others: Iterable[Rotated]) -> None:
        """Know files that were there before: when they are seen again they are not what came since."""
        for beside in others:
            if self.of(beside.identity) is None:
                log = opened(beside.path)
                if log is not None:
                    self.known.add(log.head)
                    log.close()


def opened(path: str, *, at: FilePosition | None = None) -> LogFile | None:
    """A file beside the log, at its beginning or at a position; None when it went, or does not hold that."""
    try:
        log = LogFile(path)
    except SourceError:
        return None
    with suppress(OSError):
        if at is None or ((log.identity == at.identity or log.holds(at)) and log.go_on(at)):
            return log
    log.close()
    return None
