"""Reading small files: bounded, and nothing that could make the reader wait."""

import os
import socket
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.source import file


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """Also by way of a link, as mounted secrets are; also what the kernel makes up."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to(path)
    assert file.read(str(path)) == file.read(str(tmp_path / "link")) == b"x" * 100_000
    assert file.read("/proc/self/statm")


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "directory", "long", "nul"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    """A FIFO that nobody writes to would hang whoever opens it."""
    path = str(tmp_path / "a")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
    elif kind == "long":
        Path(path).write_bytes(b"x" * 11)
    path = {"device": "/dev/zero", "directory": str(tmp_path), "nul": "a\0b"}.get(kind, path)
    with pytest.raises(SourceError) as caught:
        file.read(path, 10)
    assert not caught.value.temporary or kind in ("socket", "directory", "nul")


def test_a_link_is_refused_where_somebody_could_swap_it(tmp_path: Path) -> None:
    """A file in a directory that others may write to."""
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(SourceError):
        file.read(str(tmp_path / "link"), follow=False)
