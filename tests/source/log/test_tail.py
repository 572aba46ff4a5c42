"""Following a log over every way in which logs are rotated."""

import gzip
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.source.log.position import FilePosition, Position
from proxywatch.source.log.tail import Tail
from support.log_writer import Writer


class Hand:
    """A monotonic clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def drain(tail: Tail, limit: int = 1 << 16) -> list[bytes]:
    """Every line that is there now."""
    lines = b""
    while chunk := tail.read(limit):
        lines += chunk
    return lines.split(b"\n")[:-1]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "danted.log"


def append(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        for line in lines:
            file.write(f"{line}\n")


def follow(path: Path, *, at_end: bool = False, places: Sequence[FilePosition] = ()) -> Tail:
    return Tail(str(path), Hand(), at_end=at_end, position=Position(tuple(places)))


def test_it_starts_at_the_end(log: Path) -> None:
    """What was there before is not read."""
    append(log, "old")
    tail = follow(log, at_end=True)
    assert drain(tail) == []
    append(log, "new")
    assert drain(tail) == [b"new"]


def test_a_line_that_is_being_written_at_the_start_is_read_whole(log: Path) -> None:
    """The end is the end of the last whole line."""
    log.write_text("old\nhal")
    tail = follow(log, at_end=True)
    assert drain(tail) == []
    with log.open("a") as file:
        file.write("f\n")
    assert drain(tail) == [b"half"]


def test_a_partial_line_waits(log: Path) -> None:
    """Nothing is handed out before its newline is there."""
    log.write_text("one\ntw")
    tail = follow(log)
    assert drain(tail) == [b"one"]
    with log.open("a") as file:
        file.write("o\n")
    assert drain(tail) == [b"two"]


def test_an_absent_log_is_said_and_read_from_its_beginning_when_it_appears(log: Path) -> None:
    """Its absence is an ordinary state."""
    tail = follow(log, at_end=True)
    with pytest.raises(SourceError, match="No such file"):
        tail.read(1024)
    append(log, "first")
    assert drain(tail) == [b"first"]


@pytest.mark.parametrize("renamed", [True, False])
def test_a_log_that_is_gone_for_long_is_said(log: Path, renamed: bool) -> None:  # noqa: FBT001
    """Not at once: its writer may still have it, and be about to make another."""
    append(log, "one")
    clock = Hand()
    tail = Tail(str(log), clock, at_end=False)
    with log.open("a") as late:
        assert drain(tail) == [b"one"]
        log.rename(f"{log}.1") if renamed else log.unlink()
        clock.seconds += 599
        assert drain(tail) == []
        late.write("two\n")
    assert drain(tail) == [b"two"]
    clock.seconds += 601
    with pytest.raises(SourceError, match="No such file"):
        drain(tail)
    append(log, "three")
    assert drain(tail) == [b"three"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_log_that_may_not_be_read_is_said(log: Path) -> None:
    """It needs the operator."""
    append(log, "secret")
    log.chmod(0)
    with pytest.raises(SourceError) as raised:
        follow(log).read(1024)
    assert not raised.value.temporary


def test_rename_drains_the_old_file_while_it_is_still_written(log: Path) -> None:
    """Writers that notice late lose nothing."""
    append(log, "one")
    tail = follow(log)
    assert drain(tail) == [b"one"]
    with log.open("a") as late:
        log.rename(f"{log}.1")
        late.write("two\n")
        late.flush()
        append(log, "three")
        assert drain(tail) == [b"two", b"three"]
        late.write("four\n")
        late.flush()
        append(log, "five")
        assert drain(tail) == [b"four", b"five"]
    assert tail.rotations == 1


def test_an_old_file_is_let_go_when_it_is_quiet_and_has_no_name(log: Path) -> None:
    """After a minute; as long as it has a name it is kept, quiet or not."""
    clock = Hand()
    append(log, "one")
    tail = Tail(str(log), clock, at_end=False)
    drain(tail)
    log.rename(f"{log}.1")
    append(log, "two")
    assert drain(tail) == [b"two"]
    clock.seconds += 599
    drain(tail)
    assert len(tail.position().files) == 2
    Path(f"{log}.1").unlink()
    drain(tail)
    assert len(tail.position().files) == 1


def test_removal_and_re_creation(log: Path) -> None:
    """Lines to the file without a name count too, until the new one is there and on."""
    append(log, "one")
    tail = follow(log)
    drain(tail)
    with log.open("a") as late:
        log.unlink()
        late.write("two\n")
        late.flush()
        assert drain(tail) == [b"two"]
        append(log, "three")
        late.write("four\n")
        late.flush()
        assert sorted(drain(tail)) == [b"four", b"three"]


def test_truncation(log: Path) -> None:
    """A cut log is read from its start."""
    append(log, "one", "two")
    tail = follow(log)
    drain(tail)
    os.truncate(log, 0)
    append(log, "3")
    assert drain(tail) == [b"3"]
    assert tail.truncations == 1


def test_a_log_that_has_grown_beyond_the_old_offset_since_it_was_cut(log: Path) -> None:
    """It is known by the bytes before the offset, not by its size."""
    append(log, "one", "two")
    tail = follow(log)
    drain(tail)
    os.truncate(log, 0)
    append(log, *(f"new {number}" for number in range(100)))
    assert len(drain(tail)) == 100
    assert tail.truncations == 1


def test_what_copytruncate_cut_away_unread_is_read_from_the_copy(log: Path) -> None:
    """Lines written between the last look and the copy are lost to nobody."""
    append(log, "one")
    tail = follow(log)
    drain(tail)
    append(log, "two", "three")
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)
    append(log, "four")
    assert drain(tail) == [b"two", b"three", b"four"]


def test_the_hole_that_a_writer_without_append_leaves(log: Path) -> None:
    """NUL bytes up to its old position are passed over, whether they are a hole or written."""
    with log.open("w") as writer:
        writer.write("one\n" * 100_000)
        writer.flush()
        tail = follow(log)
        drain(tail)
        os.truncate(log, 0)
        writer.write("two\n")
        writer.flush()
        assert drain(tail) == [b"two"]
    with log.open("ab") as file:
        file.write(b"\0" * 724 + b"three\n")
    assert drain(tail) == [b"three"]


def test_two_rotations_between_two_looks(log: Path) -> None:
    """The file that had the name in between is found beside the log."""
    append(log, "one")
    tail = follow(log)
    drain(tail)
    log.rename(f"{log}.1")
    append(log, "two")
    Path(f"{log}.1").rename(f"{log}.2")
    log.rename(f"{log}.1")
    append(log, "three")
    assert drain(tail) == [b"two", b"three"]
    assert tail.rotations == 2


def test_no_more_than_eight_files_are_kept_open(log: Path) -> None:
    """However often it is rotated; the oldest that is read goes first."""
    tail = follow(log)
    for number in range(20):
        append(log, f"{number}")
        assert drain(tail) == [b"%d" % number]
        log.rename(f"{log}.{number}")
    append(log, "last")
    assert drain(tail) == [b"last"]
    assert len(tail.position().files) <= 9


def test_a_file_that_was_cut_before_any_of_it_was_read(log: Path) -> None:
    """It is known by how it began."""
    log.write_text("a line without an end" * 20)
    tail = follow(log)
    assert drain(tail) == []
    log.write_text("another\n")
    assert drain(tail) == [b"another"]
    assert tail.truncations == 1


def test_a_copy_beside_the_log_is_not_read_again(log: Path) -> None:
    """Somebody saved it, then it was rotated: it begins as a file does that was read."""
    append(log, "one")
    tail = follow(log)
    drain(tail)
    shutil.copyfile(log, f"{log}.saved")
    log.rename(f"{log}.1")
    append(log, "two")
    assert drain(tail) == [b"two"]


def test_rotated_files_of_before_are_not_read(log: Path) -> None:
    """Only what came since."""
    append(Path(f"{log}.1"), "ancient")
    append(log, "one")
    tail = follow(log)
    assert drain(tail) == [b"one"]
    log.rename(f"{log}.2")
    append(log, "two")
    assert drain(tail) == [b"two"]


def test_a_line_of_megabytes(log: Path) -> None:
    """Its start is handed out, its rest is not, and the next line is whole."""
    append(log, "x" * 3_000_000, "after", "y" * 200_000, "last")
    lines = drain(follow(log))
    assert [len(line) for line in lines] == [4096, 5, 200_000, 4]


def test_a_restart_goes_on_where_it_stood(log: Path) -> None:
    """Also in the middle of a rotation, and after lines that came meanwhile."""
    append(log, "one")
    first = follow(log)
    drain(first)
    places = first.position().files
    first.close()
    append(log, "two")
    log.rename(f"{log}.1")
    append(log, "three")
    Path(f"{log}.1").rename(f"{log}.2")
    log.rename(f"{log}.1")
    append(log, "four")
    again = follow(log, at_end=True, places=places)
    assert drain(again) == [b"two", b"three", b"four"]
    assert again.gaps == 0


def test_a_restart_while_nothing_has_the_path(log: Path) -> None:
    """What was rotated since is read once the writer has made a new file."""
    log.write_bytes(b"one\n")
    first = follow(log)
    assert drain(first) == [b"one"]
    places = first.position().files
    first.close()
    log.rename(log.with_name("danted.log.2"))
    log.write_bytes(b"two\n")
    log.rename(log.with_name("danted.log.1"))
    again = follow(log, places=places)
    assert drain(again) == []
    log.write_bytes(b"three\n")
    assert drain(again) == [b"two", b"three"]


def test_a_restart_after_copytruncate(log: Path) -> None:
    """The rest is in the copy, the new lines are in the log."""
    append(log, "one")
    first = follow(log)
    drain(first)
    append(log, "two")
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)
    append(log, "three")
    assert drain(follow(log, places=first.position().files)) == [b"two", b"three"]


def test_a_place_that_is_gone_is_a_gap(log: Path) -> None:
    """It is counted, and the log that is there is read whole."""
    append(log, "one")
    first = follow(log)
    drain(first)
    places = first.position().files
    first.close()
    log.unlink()
    append(log, "other")
    again = follow(log, places=places)
    assert drain(again) == [b"other"]
    assert again.gaps == 1


def test_a_place_in_a_file_that_was_compressed_since_is_a_gap(log: Path) -> None:
    """What it held beyond the place is lost, which is counted; no compressed byte is taken for a line."""
    append(log, "one")
    first = follow(log)
    drain(first)
    places = first.position().files
    first.close()
    append(log, "two")
    Path(f"{log}.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    append(log, "three")
    again = follow(log, places=places)
    assert drain(again) == [b"three"]
    assert again.gaps == 1


@pytest.mark.parametrize("moved", [(1, 0), (0, 1), (1, 1)])
def test_a_log_on_another_volume_is_known_by_its_bytes(log: Path, moved: tuple[int, int]) -> None:
    """Neither device nor inode are the same after it was copied; the reading goes on where it stood."""
    append(log, "one")
    first = follow(log)
    drain(first)
    append(log, "two")
    [place] = first.position().files
    elsewhere = place._replace(device=place.device + moved[0], inode=place.inode + moved[1])
    again = follow(log, places=[elsewhere])
    assert drain(again) == [b"two"]
    assert again.gaps == 0


def test_another_file_with_the_old_inode_is_read_whole(log: Path) -> None:
    """As ext4 gives it to the next file at once; it is told by its bytes."""
    append(log, "one", "two")
    first = follow(log)
    drain(first)
    places = first.position().files
    log.write_text("abc\nxyz\nnew\n")
    again = follow(log, places=places)
    assert drain(again) == [b"abc", b"xyz", b"new"]
    assert again.gaps == 1


def test_a_directory_in_the_place_of_the_log(log: Path) -> None:
    """As a container engine makes it, of a volume that names a file which is not there."""
    log.mkdir()
    tail = follow(log)
    with pytest.raises(SourceError, match="is no file"):
        tail.read(1024)
    log.rmdir()
    append(log, "one")
    assert drain(tail) == [b"one"]


def number(line: bytes) -> int:
    return int(line[5:14])


@pytest.mark.slow  # a reader that gets no processor for longer than files are kept may miss one
@pytest.mark.parametrize("seed", [1, 2])
def test_every_line_of_a_busy_writer_is_read_once(log: Path, seed: int) -> None:
    """5,000 lines a second, rotated in every way every 150 ms, with restarts from the place in between."""
    random.seed(seed)
    log.touch()
    writer = Writer(log, lambda count: b"line %09d %s\n" % (count, b"x" * random.randrange(80, 200)))
    thread = threading.Thread(target=writer.run, args=(2.0,))
    tail = Tail(str(log), time.monotonic, at_end=False)
    tail.read(1)
    thread.start()
    seen: Counter[int] = Counter()
    reads = 0
    while True:
        done = writer.done
        before = writer.count
        lines = drain(tail, 1 << 14)
        seen.update(map(number, lines))
        if not lines and writer.count == before:
            writer.caught_up.set()
        reads += 1
        if reads % 40 == 0:
            with writer.removing:  # what is written to a file without a name can be found by nobody
                seen.update(map(number, drain(tail)))
                position = tail.position()
                tail.close()
                tail = Tail(str(log), time.monotonic, position=position)
                seen.update(map(number, drain(tail)))  # which opens it, as long as it has its name
        if done and not lines:
            break
        time.sleep(random.random() * 0.03)
    thread.join()
    writer.close()
    print(f"\n{writer.count} lines, {tail.rotations} rotations and {tail.truncations} cuts in the last run")
    missing = sorted(set(range(1, writer.count + 1)) - set(seen))
    twice = [number for number, count in seen.items() if count > 1]
    assert (missing[:10], twice[:10]) == ([], [])
    tail.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_restart_from_an_old_place_reads_every_line_once_more(log: Path, seed: int) -> None:
    """What was read after the checkpoint is read again, over several rotations, and nothing else is."""
    random.seed(seed)
    log.touch()
    writer = Writer(log, lambda count: b"line %09d %s\n" % (count, b"x" * random.randrange(80, 200)))
    writer.ways = writer.ways_that_keep_the_lines  # type: ignore[method-assign]
    thread = threading.Thread(target=writer.run, args=(2.0,))
    tail = Tail(str(log), time.monotonic, at_end=False)
    tail.read(1)
    thread.start()
    seen: Counter[int] = Counter()
    kept, before = tail.position(), seen.copy()
    while True:
        done = writer.done
        lines = drain(tail, 1 << 14)
        seen.update(map(number, lines))
        chance = random.random()
        if chance < 0.03:
            kept, before = tail.position(), seen.copy()
        elif chance > 0.98:
            tail.close()
            tail = Tail(str(log), time.monotonic, position=kept)
            seen = before.copy()
        elif done and not lines:
            break
        time.sleep(random.random() * 0.03)
    thread.join()
    writer.close()
    missing = sorted(set(range(1, writer.count + 1)) - set(seen))
    twice = [number for number, count in seen.items() if count > 1]
    assert (missing[:3], len(missing), twice[:3], len(twice), tail.gaps) == ([], 0, [], 0, 0)
    tail.close()


def test_a_sparse_terabyte_costs_next_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole is passed over in one step, wherever it is; what comes after it is read."""
    log = tmp_path / "danted.log"
    log.write_bytes(b"one\n")
    tail = follow(log)
    reads, pread = 0, os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        return pread(fd, size, offset)

    assert drain(tail) == [b"one"]
    os.truncate(log, 1 << 40)
    monkeypatch.setattr(os, "pread", counted)
    assert drain(tail) == []
    with log.open("ab") as file:
        file.write(b"two\n")
    os.truncate(log, 1 << 41)
    with log.open("ab") as file:
        file.write(b"three\n")
    assert drain(tail) == [b"two", b"three"]
    assert reads < 100
    again = follow(log)
    assert drain(again) == [b"one", b"two", b"three"]
    assert reads < 200
    tail.close()
    again.close()


def test_a_copy_that_is_compressed_at_once_is_a_gap(tmp_path: Path) -> None:
    """What was written to it between the last look and the cut cannot be read; a cut alone is none."""
    log = tmp_path / "danted.log"
    log.write_bytes(b"one\n")
    tail = follow(log)
    assert drain(tail) == [b"one"]
    with log.open("ab") as file:
        file.write(b"two\n")
    (tmp_path / "danted.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.write_bytes(b"3\n")
    assert drain(tail) == [b"3"]
    assert (tail.truncations, tail.gaps) == (1, 1)
    tail.close()
    (tmp_path / "danted.log.1.gz").unlink()
    again = follow(log)
    assert drain(again) == [b"3"]
    log.write_bytes(b"")
    log.write_bytes(b"4\n")
    assert drain(again) == [b"4"]
    assert again.gaps == 0
    again.close()
