"""A writer that appends to a log and rotates it in every way in which logs are rotated."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path


class Writer:
    """Writes numbered lines, one write each, and rotates its file in every way.

    Attributes:
        count: Lines written.
        done: Whether it has ended.
        caught_up: Set by the reader when it has read all.
        removing: Held while lines go to a file that has no name.
    """

    def __init__(self, log: Path, line: Callable[[int], bytes], rate: int = 5000) -> None:
        self.log = log
        self.removing = threading.Lock()
        self._line = line
        self._rate = rate
        self.count = 0
        self.done = False
        self.caught_up = threading.Event()
        self._fds: list[int] = []
        self._open()

    def run(self, seconds: float, *, every: float = 0.15) -> None:
        """Write for some seconds, and rotate every so many."""
        ways = self.ways()
        start = time.monotonic()
        next_turn = every
        while (now := time.monotonic() - start) < seconds:
            while self.count < now * self._rate:
                self.write()
            if now > next_turn:
                next(ways)()
                next_turn = now + every
            time.sleep(0.002)
        self.done = True

    def _open(self) -> None:
        self._fd = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._fds.append(self._fd)

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)

    def write(self, fd: int | None = None) -> None:
        self.count += 1
        os.write(self._fd if fd is None else fd, self._line(self.count))

    def ways(self) -> Iterator[Callable[[], None]]:
        while True:
            yield self.rename
            yield self.copytruncate
            yield self.copytruncate_and_regrow
            yield self.remove
            yield self.rename_twice
            yield self.truncate
            yield self.rename_late

    def ways_that_keep_the_lines(self) -> Iterator[Callable[[], None]]:
        """Those after which every line is still in some file with a name."""
        while True:
            yield self.rename
            yield self.copytruncate
            yield self.rename_late
            yield self.copytruncate_and_regrow
            yield self.rename_twice

    def _shift(self) -> None:
        for number in range(40, 0, -1):
            old = Path(f"{self.log}.{number}")
            if old.exists():
                old.rename(f"{self.log}.{number + 1}")

    def rename(self) -> None:
        self._shift()
        self.log.rename(f"{self.log}.1")
        for _ in range(20):
            self.write()
        self._open()

    def rename_late(self) -> None:
        """Another writer notices only after hundreds of lines."""
        late = self._fd
        self._shift()
        self.log.rename(f"{self.log}.1")
        self._open()
        for _ in range(300):
            self.write(late)
            self.write()

    def rename_twice(self) -> None:
        self.rename()
        for _ in range(5):
            self.write()
        self.rename()

    def copytruncate(self) -> None:
        self._shift()
        shutil.copyfile(self.log, f"{self.log}.1")
        os.truncate(self.log, 0)

    def copytruncate_and_regrow(self) -> None:
        size = self.log.stat().st_size
        self.copytruncate()
        while self.log.stat().st_size <= size:
            self.write()

    def remove(self) -> None:
        with self.removing:
            self.log.unlink()
            for _ in range(20):
                self.write()
            self._open()

    def truncate(self) -> None:
        """What was not read before is lost to everybody, so wait until all is."""
        self.caught_up.clear()
        self.caught_up.wait(5)
        os.truncate(self.log, 0)
