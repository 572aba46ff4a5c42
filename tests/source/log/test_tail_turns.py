"""Turns of a log that a reader is late for: several at once, copies, files that only look like the log's."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from proxywatch.errors import SourceError
from proxywatch.source.log import followed, rotated
from proxywatch.source.log.logfile import LogFile
from proxywatch.source.log.tail import Tail

P = ParamSpec("P")
T = TypeVar("T")


class Hand:
    """A monotonic clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def text(*numbers: int) -> bytes:
    """Lines of about a hundred bytes that begin as Dante's do."""
    head = b"Nov 21 20:00:00 (1795290000.%06d) danted[1]: info: line %09d %s\n"
    return b"".join(head % (number, number, b"x" * 40) for number in numbers)


def append(path: Path | str, *numbers: int) -> None:
    with Path(path).open("ab") as file:
        file.write(text(*numbers))


class Reader:
    """A tail, what it has handed out, and restarts of it."""

    def __init__(self, log: Path, *, at_end: bool = False) -> None:
        self.log = log
        self.clock = Hand()
        self.tail = Tail(str(log), self.clock, at_end=at_end)
        self.lines = b""

    def step(self, limit: int = 1 << 14) -> bool:
        """One read; whether there may be more."""
        chunk = self.tail.read(limit)
        self.lines += chunk
        return bool(chunk) or self.tail.more

    def drain(self) -> None:
        while self.step():
            pass

    def stop(self) -> None:
        self.earlier = self.tail.position()
        self.tail.close()

    def start(self) -> None:
        self.tail = Tail(str(self.log), self.clock, position=self.earlier)
        self.drain()

    @property
    def read(self) -> list[int]:
        return sorted(int(line.split(b"line ")[1][:9]) for line in self.lines.splitlines())


def upto(last: int) -> list[int]:
    return list(range(1, last + 1))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "danted.log"


@pytest.fixture
def reader(log: Path) -> Iterator[Reader]:
    """A reader that has read line 1."""
    append(log, 1)
    reader = Reader(log)
    reader.drain()
    yield reader
    reader.tail.close()


def rename(log: Path) -> None:
    for number in range(9, 0, -1):
        old = Path(f"{log}.{number}")
        if old.exists():
            old.rename(f"{log}.{number + 1}")
    log.rename(f"{log}.1")


def copytruncate(log: Path, to: str = ".1") -> None:
    shutil.copyfile(log, f"{log}{to}")
    os.truncate(log, 0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# A start that fails


def test_a_start_that_fails_keeps_the_places_and_is_tried_again(reader: Reader, log: Path) -> None:
    """Two files of an earlier run, and nothing that can be opened at the path: nothing is read twice."""
    with log.open("ab") as late:
        rename(log)
        append(log, 2)
        reader.drain()
        reader.stop()
        late.write(text(3))
    kept = log.rename(log.with_name("kept"))
    log.mkdir()
    reader.tail = Tail(str(log), reader.clock, position=reader.earlier)
    before = descriptors()
    for _ in range(3):
        with pytest.raises(SourceError, match="is no file"):
            reader.step()
    assert reader.tail.position() == reader.earlier
    assert (reader.tail.gaps, descriptors()) == (0, before)
    log.rmdir()
    kept.rename(log)
    append(log, 4)
    reader.drain()
    assert reader.read == upto(4)
    assert reader.tail.gaps == 0


def test_a_disk_that_fails_during_a_start_is_tried_again(
    reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened before is let go."""
    reader.stop()
    append(log, 2)
    reader.tail = Tail(str(log), reader.clock, position=reader.earlier)
    before = descriptors()

    def fail(*_: object) -> object:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(rotated, "named", fail)
        for _ in range(3):
            with pytest.raises(SourceError, match="Input/output error"):
                reader.step()
    assert descriptors() == before
    reader.drain()
    assert reader.read == upto(2)


def test_a_log_that_takes_a_directorys_place_is_read_from_its_beginning(log: Path) -> None:
    """It was not there when we started, whatever was."""
    log.mkdir()
    reader = Reader(log, at_end=True)
    with pytest.raises(SourceError, match="is no file"):
        reader.step()
    log.rmdir()
    append(log, 1, 2)
    reader.drain()
    assert reader.read == upto(2)


def after(turn: Callable[[], object], function: Callable[P, T]) -> Callable[P, T]:
    """A function as before, but before its first call there is a turn."""
    turns = [turn]

    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        while turns:
            turns.pop()()
        return function(*args, **kwargs)

    return called


def test_a_rename_amid_a_start(reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the log was opened, and before what was followed is looked for beside it."""
    append(log, 2)
    rename(log)
    append(log, 3)
    reader.drain()
    reader.stop()
    append(f"{log}.1", 4)
    append(log, 5)

    def turn() -> None:
        rename(log)
        append(log, 6)

    monkeypatch.setattr(rotated, "named", after(turn, rotated.named))
    reader.start()
    assert (reader.read, reader.tail.gaps) == (upto(6), 0)


def test_a_cut_amid_a_start(reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is written over the last one, and read once."""
    copytruncate(log, ".old")
    append(log, 2)
    reader.drain()
    reader.stop()
    append(log, 3)

    def turn() -> None:
        copytruncate(log, ".old")
        append(log, 4)

    monkeypatch.setattr(rotated, "named", after(turn, rotated.named))
    reader.start()
    assert (reader.read, reader.tail.gaps) == (upto(4), 0)


# What is no line


@pytest.mark.parametrize("hole", [True, False])
def test_a_long_run_of_nul_bytes_is_passed_over_in_steps(reader: Reader, log: Path, hole: bool) -> None:  # noqa: FBT001
    """As a writer leaves that does not append, or a power cut; no read looks at more than a few MiB."""
    with log.open("ab") as file:
        if hole:
            file.truncate(200 << 20)
        else:
            file.write(bytes(20 << 20))
        file.seek(0, os.SEEK_END)
        file.write(text(2))
    steps = 0
    while reader.step():
        steps += 1
    assert reader.read == upto(2)
    assert (steps == 1) if hole else (3 <= steps <= 10)


def test_the_restart_after_a_cut_that_left_a_hole(reader: Reader, log: Path) -> None:
    """The place is gone, and the new lines stand behind 40 MiB of nothing."""
    reader.stop()
    with log.open("r+b") as writer:
        writer.truncate(0)
        writer.seek(40 << 20)
        writer.write(text(2, 3))
    reader.start()
    assert reader.read == upto(3)


def test_an_endless_line_is_passed_over_in_steps(reader: Reader, log: Path) -> None:
    """Its start is handed out once; the next line is whole."""
    with log.open("ab") as file:
        for _ in range(40):
            file.write(b"y" * (1 << 20))
        file.write(b"\n" + text(2))
    assert reader.step()
    assert reader.lines.endswith(b"\n" + b"y" * 4096 + b"\n")
    steps = 0
    while reader.step():
        steps += 1
    assert 9 <= steps <= 20
    assert reader.lines.endswith(b"y\n" + text(2))


def test_a_restart_amid_a_line_that_is_too_long(reader: Reader, log: Path) -> None:
    """Its rest is no line."""
    with log.open("ab") as file:
        file.write(b"y" * (3 << 20))
    reader.drain()
    reader.stop()
    with log.open("ab") as file:
        file.write(b"z" * 1000 + b"\n" + text(2))
    reader.start()
    assert reader.lines == text(1) + b"y" * 4096 + b"\n" + text(2)


def test_a_chunk_with_a_long_line_is_no_more_than_that_line(reader: Reader, log: Path) -> None:
    """Thousands of lines behind it wait for the next read."""
    with log.open("ab") as file:
        file.write(b"y" * 20_000 + b"\n" + text(*range(2, 5000)))
    assert len(reader.tail.read(1 << 14)) == 20_001
    assert len(reader.tail.read(1 << 14)) <= 1 << 14


# Copies


def test_a_copy_that_is_written_over_is_not_read_again(reader: Reader, log: Path) -> None:
    """`cp log log.1; : > log`, every few minutes."""
    for turn in range(4):
        append(log, 2 * turn + 2)
        reader.drain()
        append(log, 2 * turn + 3)
        copytruncate(log)
        reader.drain()
        assert len(reader.tail.position().files) == 1
    assert reader.read == upto(9)


def test_a_rotated_file_that_a_copy_is_written_over_is_let_go(reader: Reader, log: Path) -> None:
    """It was followed since it was renamed."""
    rename(log)
    append(log, 2, 3)
    reader.drain()
    copytruncate(log)
    append(log, 4)
    reader.drain()
    assert reader.read == upto(4)


def test_an_archive_that_the_log_is_appended_to_is_not_read(reader: Reader, log: Path) -> None:
    """`cat log >> log.archive; : > log`."""
    archive = log.with_name("danted.log.archive")
    for number in range(2, 6):
        append(log, number)
        reader.drain()
        with archive.open("ab") as file:
            file.write(log.read_bytes())
        os.truncate(log, 0)
        reader.drain()
    assert reader.read == upto(5)


def test_copies_are_neither_kept_open_nor_read_after_a_rename_or_a_restart(reader: Reader, log: Path) -> None:
    """Sixty of them; they are known by how they begin."""
    before = descriptors()
    for number in range(2, 62):
        append(log, number)
        reader.drain()
        copytruncate(log, f".{number}")
        reader.drain()
    assert (len(reader.tail.position().files), descriptors()) == (1, before)
    append(log, 62)
    reader.drain()
    rename(log)
    append(log, 63)
    reader.drain()
    for copy in log.parent.glob("danted.log.*"):
        os.utime(copy)
    reader.stop()
    rename(log)
    append(log, 64)
    reader.start()
    assert reader.read == upto(64)
    assert reader.tail.gaps == 0


def test_a_copy_that_is_as_old_as_the_cut_is_not_read_after_a_rename(reader: Reader, log: Path) -> None:
    """The proxy was idle in between."""
    copytruncate(log)
    state = log.stat()
    os.utime(f"{log}.1", ns=(state.st_mtime_ns, state.st_mtime_ns))
    reader.drain()
    reader.clock.seconds += 601
    reader.drain()
    rename(log)
    append(log, 2)
    reader.drain()
    assert reader.read == upto(2)


def test_of_several_copies_the_longest_is_read(reader: Reader, log: Path) -> None:
    """A backup was made of the log, then it was rotated, all while nobody looked."""
    reader.stop()
    append(log, 2)
    shutil.copyfile(log, f"{log}.bak")
    append(log, 3)
    copytruncate(log)
    append(log, 4)
    reader.start()
    assert reader.read == upto(4)


# More than one turn between two looks


def test_the_middle_file_under_a_late_writer(reader: Reader, log: Path) -> None:
    """What is written to the oldest file last does not hide it."""
    with log.open("ab", buffering=0) as late:
        rename(log)
        append(log, 2)
        rename(log)
        late.write(text(3))
        later = Path(f"{log}.1").stat().st_mtime + 5
        os.utime(f"{log}.2", (later, later))
    append(log, 4)
    reader.drain()
    assert reader.read == upto(4)
    assert reader.tail.rotations == 2


def test_rotations_during_a_backlog(log: Path) -> None:
    """Three, each seen when it happens, though the first file is not read yet."""
    append(log, *range(1, 2001))
    reader = Reader(log)
    reader.step()
    with log.open("ab", buffering=0) as late:
        for number in (2001, 2002, 2003):
            rename(log)
            append(log, number)
            reader.step()
        late.write(text(2004))
    reader.drain()
    assert reader.read == upto(2004)


def test_a_middle_file_with_the_inode_of_one_that_was_there_before(reader: Reader, log: Path) -> None:
    """As a file system may give it to the next file at once; its bytes tell."""
    beside = Path(f"{log}.2")
    append(beside, 900)
    reader.stop()
    reader.start()
    rename(log)
    Path(f"{log}.3").write_bytes(text(2))  # the same file in another's clothes
    append(log, 3)
    reader.drain()
    assert reader.read == upto(3)


def test_two_copytruncates_between_two_looks(reader: Reader, log: Path) -> None:
    """The rest of the first copy, all of the second, and the log."""
    append(log, 2)
    copytruncate(log, ".2")
    append(log, 3)
    copytruncate(log)
    append(log, 4)
    reader.drain()
    assert reader.read == upto(4)


def test_a_turn_while_the_files_beside_the_log_are_looked_at(
    reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was missed has got another's name between the list and its opening."""
    rename(log)
    append(log, 2)
    rename(log)
    append(log, 3)

    def turn() -> None:
        rename(log)
        append(log, 4)

    monkeypatch.setattr(followed, "opened", after(turn, followed.opened))
    reader.drain()
    assert reader.read == upto(4)


def test_a_copy_that_gets_another_name_while_it_is_looked_for(
    reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next rotation begins just then."""
    append(log, 2)
    copytruncate(log)
    append(log, 3)
    move = Path(f"{log}.1").rename
    monkeypatch.setattr(followed, "opened", after(lambda: move(f"{log}.2"), followed.opened))
    reader.drain()
    assert reader.read == upto(3)


def test_copytruncates_during_a_backlog(log: Path) -> None:
    """While the first copy is read."""
    append(log, *range(1, 1001))
    reader = Reader(log)
    reader.step()
    copytruncate(log, ".3")
    append(log, 1001)
    reader.step()
    for number in (1002, 1003):
        copytruncate(log, f".{1004 - number}")
        append(log, number)
        reader.step()
    reader.drain()
    assert reader.read == upto(1003)


def test_a_restart_during_a_backlog_of_turns(log: Path) -> None:
    """What had not been looked at when the place was kept is looked for afterwards."""
    append(log, *range(1, 1001))
    reader = Reader(log)
    reader.step()
    for number in (1001, 1002):
        copytruncate(log, f".{1003 - number}")
        append(log, number)
        reader.step()
    rename(log)
    append(log, 1003)
    reader.step()
    reader.stop()
    later = log.stat().st_mtime + 5
    os.utime(log, (later, later))
    reader.start()
    assert reader.read == upto(1003)


def test_a_file_that_was_cut_again_before_it_was_read(reader: Reader, log: Path) -> None:
    """It was known as shorter than one chunk; it is not taken for what it holds now."""
    append(log, *range(2, 9))
    assert reader.step(500)
    copytruncate(log, ".2")
    append(log, 9, 10)
    assert reader.step(500)
    copytruncate(log)
    reader.drain()
    append(log, 11)
    reader.drain()
    assert reader.read == upto(11)


# Files beside the log


@pytest.mark.parametrize(
    "end",
    [".log.checkpoint", ".log.err", ".log.out", ".log.1.xz", ".log.2.gz", ".logs", "-err.log", "-2.log", ""],
)
@pytest.mark.parametrize("stopped", [True, False])
def test_a_file_that_does_not_look_rotated_is_not_read(
    reader: Reader,
    log: Path,
    end: str,
    stopped: bool,  # noqa: FBT001
) -> None:
    """Whatever it holds, and however new it is."""
    if stopped:
        reader.stop()
    log.with_name(f"danted{end}").write_bytes(text(900, 901))
    rename(log)
    append(log, 2)
    if stopped:
        reader.start()
    reader.drain()
    assert reader.read == upto(2)


@pytest.mark.parametrize(
    "end",
    [".log.1", ".log-20261121", ".log.2026-11-21T20:15:00Z", ".log-20261121-1795290000", "-20261121.log",
     ".1.log", ".log.old", ".log.1.bak", ".log~"],
)  # fmt: skip
def test_a_file_that_looks_rotated_is_read(reader: Reader, log: Path, end: str) -> None:
    """By the names that logrotate and people give."""
    reader.stop()
    append(log, 2)
    shutil.copyfile(log, log.with_name(f"danted{end}"))
    os.truncate(log, 0)
    append(log, 3)
    reader.start()
    assert reader.read == upto(3)


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"])
def test_a_compressed_file_without_an_extension_is_not_read(reader: Reader, log: Path, magic: bytes) -> None:
    """Its first bytes tell."""
    reader.stop()
    log.unlink()
    Path(f"{log}.1").write_bytes(magic + b"\n\n\n")
    append(log, 2)
    reader.start()
    assert reader.lines == text(1, 2)
    assert reader.tail.gaps == 1


def test_a_file_that_is_quiet_for_long_is_still_followed(reader: Reader, log: Path) -> None:
    """As long as it has its name: a child of Dante may log to it after hours."""
    with log.open("ab", buffering=0) as late:
        rename(log)
        append(log, 2)
        reader.drain()
        reader.clock.seconds += 100_000
        reader.drain()
        assert len(reader.tail.position().files) == 1
        late.write(text(3))
        reader.drain()
        assert reader.read == upto(3)


def test_a_restart_after_which_a_quiet_file_is_written_to(reader: Reader, log: Path) -> None:
    """Only the new line is read of it; that it went would have been no gap."""
    with log.open("ab", buffering=0) as late:
        rename(log)
        append(log, 2)
        reader.drain()
        reader.clock.seconds += 601
        reader.drain()
        reader.stop()
        late.write(text(3))
        append(log, 4)
        rename(log)
        append(log, 5)
        reader.start()
        assert reader.read == upto(5)
        reader.clock.seconds += 601
        reader.drain()
    reader.stop()
    Path(f"{log}.2").unlink()
    reader.start()
    assert (reader.read, reader.tail.gaps) == (upto(5), 0)


def test_a_file_from_before_the_first_start_that_is_written_to(log: Path) -> None:
    """Its old lines are not read, also not after a restart; what comes to the last one is."""
    append(f"{log}.2", *range(800, 810))
    append(f"{log}.1", *range(900, 910))
    os.utime(f"{log}.2", (1, 1))
    append(log, 1)
    reader = Reader(log)
    reader.drain()
    reader.stop()
    append(f"{log}.1", 2)
    append(f"{log}.2", 811)
    rename(log)
    append(log, 3)
    reader.start()
    assert reader.read == upto(3)


def test_a_file_that_vanishes_while_the_directory_is_read(
    reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are seen."""
    append(f"{log}.9", 900)
    rename(log)
    append(log, 2)
    rename(log)
    append(log, 3)
    described = rotated.described

    def vanishing(path: str) -> rotated.Rotated | None:
        if path.endswith((".9", ".10", ".11")):
            raise FileNotFoundError(2, "gone")
        return described(path)

    monkeypatch.setattr(rotated, "described", vanishing)
    reader.drain()
    assert reader.read == upto(3)


# The same log elsewhere, or shorter


def test_the_log_replaced_by_a_copy_of_itself(reader: Reader, log: Path) -> None:
    """As `sed -i` and a move to another volume do."""
    append(log, *range(2, 101))
    reader.drain()
    shutil.copyfile(log, log.with_name("copy"))
    log.with_name("copy").rename(log)
    append(log, 101)
    reader.drain()
    reader.stop()
    reader.start()
    assert reader.read == upto(101)


@pytest.mark.parametrize("running", [True, False])
def test_the_same_lines_again_after_a_rename(reader: Reader, log: Path, running: bool) -> None:  # noqa: FBT001
    """As a log that is played once more: the old file is there, so this is another."""
    append(log, *range(2, 101))
    reader.drain()
    if not running:
        reader.stop()
    rename(log)
    append(log, *range(1, 101))
    if not running:
        reader.start()
    reader.drain()
    assert reader.read == sorted([*upto(100), *upto(100)])


@pytest.mark.parametrize("running", [True, False])
def test_a_log_cut_to_a_part_of_it(reader: Reader, log: Path, running: bool) -> None:  # noqa: FBT001
    """What was kept is not read again: its beginning, or its end."""
    for kept in (slice(5), slice(5, None)):
        first = reader.read[-1] + 1
        append(log, *range(first, first + 20))
        reader.drain()
        if not running:
            reader.stop()
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[kept]))
        if running:
            reader.drain()
        else:
            reader.start()
        append(log, first + 20)
        reader.drain()
        assert reader.read == upto(first + 20)


def test_a_rotation_that_is_undone_while_nobody_looks(reader: Reader, log: Path) -> None:
    """Both files are gone on with where they were."""
    rename(log)
    append(log, 2)
    reader.drain()
    reader.stop()
    log.rename(f"{log}.2")
    Path(f"{log}.1").rename(log)
    append(log, 3)
    reader.start()
    assert reader.read == upto(3)


def test_a_file_of_the_last_run_is_found_by_any_name(reader: Reader, log: Path) -> None:
    """Its inode tells, and its bytes."""
    reader.stop()
    append(log, 2)
    log.rename(log.with_name("elsewhere"))
    append(log, 3)
    reader.start()
    assert (reader.read, reader.tail.gaps) == (upto(3), 0)


# Files that were empty


def test_a_middle_file_that_gets_its_first_line_late(reader: Reader, log: Path) -> None:
    """It was empty when it was found."""
    rename(log)
    with log.open("ab", buffering=0) as middle:
        rename(log)
        append(log, 2)
        reader.drain()
        middle.write(text(3))
        reader.drain()
    assert reader.read == upto(3)


def test_an_old_file_that_gets_its_first_line_while_nobody_looks(reader: Reader, log: Path) -> None:
    """It was empty when the place was kept, and something else has been rotated since."""
    rename(log)
    with log.open("ab", buffering=0) as late:
        reader.drain()
        rename(log)
        append(log, 2)
        reader.drain()
        reader.stop()
        os.utime(f"{log}.1", (1, 1))
        late.write(text(3))
        os.utime(f"{log}.1", (1, 1))
        reader.start()
    assert reader.read == upto(3)


@pytest.mark.parametrize("running", [True, False])
def test_a_log_that_was_empty_and_is_cut_before_its_first_line_is_read(
    log: Path,
    running: bool,  # noqa: FBT001
) -> None:
    """Its copy is found though nothing was known of it."""
    log.touch()
    reader = Reader(log)
    reader.drain()
    if not running:
        reader.stop()
    append(log, 1)
    copytruncate(log)
    append(log, 2)
    if not running:
        reader.start()
    reader.drain()
    assert reader.read == upto(2)


# Bounds


def test_an_old_file_that_cannot_be_read_is_given_up(
    reader: Reader, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are read on; a gap is counted."""
    rename(log)
    append(log, 2)
    reader.drain()
    read, old = LogFile.read, reader.tail.position().files[0].identity

    def failing(self: LogFile, limit: int) -> bytes:
        if self.identity == old:
            raise OSError(5, "Input/output error")
        return read(self, limit)

    monkeypatch.setattr(LogFile, "read", failing)
    append(log, 3)
    reader.drain()
    assert (reader.read, reader.tail.gaps) == (upto(3), 1)


def test_unread_files_are_bounded_too(log: Path) -> None:
    """A hundred rotations, with one line read after each: 64 files are held, and what is let go is a gap."""
    append(log, *range(1, 300))
    reader = Reader(log)
    reader.step(1)
    before = descriptors()
    for number in range(300, 500, 2):
        log.rename(f"{log}.{number}")
        append(log, number, number + 1)
        reader.step(1)
    assert descriptors() - before <= 64
    assert len(reader.tail.position().files) <= 65
    assert 1 <= reader.tail.gaps <= 40
    reader.drain()
    assert reader.read[-100:] == list(range(400, 500))
