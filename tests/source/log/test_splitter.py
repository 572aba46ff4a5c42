"""Lines out of pieces, and one rule for lines that are too long, wherever they come from."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.source.log import lines, splitter, whole
from proxywatch.source.log.splitter import Splitter
from proxywatch.source.log.tail import Tail

MIB = 1 << 20


@given(
    st.lists(
        st.binary(max_size=8).map(lambda piece: piece.translate(bytes(b"ab\n"[i % 3] for i in range(256))))
    )
)
def test_every_byte_comes_once_and_in_order(pieces: list[bytes]) -> None:
    """In whole lines; the last is given its newline."""
    some = Splitter()
    taken = [some.feed(piece) for piece in pieces]
    assert all(piece.endswith(b"\n") for piece in taken if piece)
    written = b"".join(pieces)
    assert b"".join(taken) == written[: written.rfind(b"\n") + 1]
    rest = written[written.rfind(b"\n") + 1 :]
    assert some.end() == (rest + b"\n" if rest else b"")
    assert some.end() == b""


@given(pieces=st.lists(st.sampled_from([b"a" * 5, b"b" * 11, b"\n", b"c\n", b"d" * 19 + b"\n", b"\ne"])))
def test_of_a_line_that_is_too_long_the_start_comes(pieces: list[bytes]) -> None:
    """Wherever the pieces end: here of more than 20 bytes the first 4."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitter, "LONGEST", 20)
        patch.setattr(splitter, "KEPT", 4)
        some = Splitter()
        taken = b"".join(map(some.feed, pieces)) + some.end()
    written = b"".join(pieces)
    whole_lines = (written if written.endswith(b"\n") else written + b"\n").splitlines(keepends=True)
    wanted = b"".join(line if len(line) <= 20 else line[:4] + b"\n" for line in whole_lines)
    assert taken == (wanted if written else b"")


@pytest.mark.parametrize("more", [-1, 0, 1, 2])
def test_the_longest_line_is_the_same_in_a_file_a_fifo_and_a_whole_log(tmp_path: Path, more: int) -> None:
    """A MiB with its newline."""
    log, fifo = tmp_path / "danted.log", tmp_path / "fifo"
    content = b"before\n" + b"x" * (MIB - 1 + more) + b"\nafter\n"
    log.write_bytes(content)
    wanted = content if more <= 0 else b"before\n" + b"x" * 4096 + b"\nafter\n"
    assert b"".join(whole.lines(str(log))) == wanted
    tail = Tail(str(log), time.monotonic, at_end=False)
    assert b"".join(iter(lambda: tail.read(1 << 14), b"")) == wanted
    tail.close()
    os.mkfifo(fifo)
    source = lines.follow(str(fifo), time.monotonic, at_end=True)
    taken = b""
    with fifo.open("wb", buffering=0) as writer:
        for start in range(0, len(content), 1 << 15):
            writer.write(content[start : start + (1 << 15)])
            while chunk := source.read(1 << 14):
                taken += chunk
    source.close()
    assert taken == wanted
