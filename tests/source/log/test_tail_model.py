"""Any course of writes, rotations, looks, kills and restarts: every line is read once."""

import os
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxywatch.source.log.position import Position
from proxywatch.source.log.tail import Tail

Kept = tuple[Position, Counter[bytes]]


WAYS = (
    "write", "write_late", "rename", "rename_empty", "copytruncate", "copytruncate_and_regrow", "copy_over",
    "backup", "replace", "look", "drain", "wait", "save", "kill", "restart",
)  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, 20)), max_size=60)
# By hand, copies are made over copies while they are read; a rotation does not do that.
PLAIN = [way for way in WAYS if way not in ("backup", "copy_over", "replace")]


class Course:
    """A log, its writers, and who reads it."""

    def __init__(self, directory: str) -> None:
        self.log = Path(directory) / "danted.log"
        self.seconds = 0.0
        self.count = 0
        self.read: Counter[bytes] = Counter()
        self.opened = ExitStack()
        self.writers: list[FileIO] = []
        self.open()
        self.tail = Tail(str(self.log), self.clock, at_end=False)
        self.look(0)
        self.kept = self.keep()

    def clock(self) -> float:
        return self.seconds

    def open(self) -> None:
        self.writer = self.opened.enter_context(self.log.open("ab", buffering=0))
        self.writers = [*self.writers, self.writer][-2:]

    def line(self) -> bytes:
        self.count += 1
        return b"Nov 21 20:00:00 (1795290000.%06d) danted[1]: info: %s\n" % (self.count, b"x" * 60)

    def write(self, size: int) -> None:
        for _ in range(size):
            self.writer.write(self.line())

    def write_late(self, size: int) -> None:
        self.writers[-1 - size % len(self.writers)].write(self.line())

    def shift(self) -> None:
        for number in range(60, 0, -1):
            old = Path(f"{self.log}.{number}")
            if old.exists():
                old.rename(f"{self.log}.{number + 1}")

    def rename(self, size: int) -> None:
        self.rename_empty(size)
        self.writer.write(self.line())

    def rename_empty(self, _size: int) -> None:
        self.shift()
        self.log.rename(f"{self.log}.1")
        self.open()

    def copytruncate(self, _size: int) -> None:
        self.shift()
        shutil.copyfile(self.log, f"{self.log}.1")
        os.truncate(self.log, 0)

    def copytruncate_and_regrow(self, size: int) -> None:
        before = self.log.stat().st_size
        self.copytruncate(size)
        while self.log.stat().st_size <= before:
            self.write(1)

    def copy_over(self, size: int) -> None:
        """What the last copy held is gone, so it has to be read and kept before."""
        self.drain(size)
        self.save(size)
        self.write(1 + size % 3)
        shutil.copyfile(self.log, f"{self.log}.old")
        os.truncate(self.log, 0)

    def backup(self, _size: int) -> None:
        if self.log.stat().st_size:
            shutil.copyfile(self.log, f"{self.log}.bak")

    def replace(self, size: int) -> None:
        """As `sed -i` does; the writer notices at once, and a look is between this and the next turn."""
        if self.log.stat().st_size:
            shutil.copyfile(self.log, f"{self.log}.new")
            Path(f"{self.log}.new").rename(self.log)
            self.writers.remove(self.writer)
            self.open()
            self.look(size)

    def look(self, size: int) -> None:
        self.read.update(self.tail.read((500, 2000, 1 << 14)[size % 3]).splitlines())

    def drain(self, _size: int) -> None:
        while (chunk := self.tail.read(1 << 14)) or self.tail.more:
            self.read.update(chunk.splitlines())

    def wait(self, size: int) -> None:
        self.seconds += 40.0 * size

    def keep(self) -> Kept:
        return self.tail.position(), self.read.copy()

    def save(self, _size: int) -> None:
        self.kept = self.keep()

    def kill(self, size: int) -> None:
        position, read = self.kept
        self.tail.close()
        self.read = read.copy()
        self.tail = Tail(str(self.log), self.clock, position=position)
        if size % 2:
            self.look(size)

    def restart(self, size: int) -> None:
        self.save(size)
        self.kill(size)

    def end(self) -> None:
        self.write(1)
        self.drain(0)


def run(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        course = Course(directory)
        with course.opened:
            for way, size in steps:
                getattr(course, way)(size)
            course.end()
            course.tail.close()
        missing = course.count - len(course.read)
        twice = [line for line, times in course.read.items() if times > 1]
        over = {"copy_over", "backup"} & dict(steps).keys()  # a file that was read may be gone
        gaps = 0 if over else course.tail.gaps
        assert (missing, twice[:3], gaps) == (0, [], 0)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_every_line_is_read_once(steps: list[tuple[str, int]]) -> None:
    """Whatever comes in whatever order, with one look somewhere between."""
    run(steps)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(PLAIN), st.integers(0, 20)), max_size=60))
def test_every_line_is_read_once_in_thousands_of_courses(steps: list[tuple[str, int]]) -> None:
    """The same for longer."""
    run(steps)
