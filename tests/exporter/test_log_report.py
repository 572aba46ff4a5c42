"""`proxywatch log` on recorded logs, packed ones, parts of one, and what is none."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from proxywatch.dante.report import Destination
from proxywatch.errors import SourceError
from proxywatch.exporter import log_report
from proxywatch.source.log import whole
from support.corpora import FIXTURES, corpus
from support.reports import report
from testbed.exporter import proxywatch


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "danted.log"
    path.write_bytes(corpus("main").log)
    return path


def test_what_a_whole_log_says(log: Path) -> None:
    """The truth about a thousand connections, for people."""
    done = proxywatch("log", str(log))
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line[:20].rstrip(): line[20:] for line in done.stdout.splitlines()}
    assert rows["requests"] == "676 succeeded, 270 failed (71.5 % succeeded)"
    assert rows["connect"] == "570 opened, 570 closed"
    assert rows["udpassociate"] == "80 opened, 80 closed"
    assert rows["lines"] == "3,563, Dante 1.4.2"
    assert "32  refused (destination)" in done.stdout


def test_packed_and_in_parts_it_says_the_same(log: Path, tmp_path: Path) -> None:
    """As logrotate leaves it, the cut in the middle of sessions; and by standard input."""
    content = log.read_bytes()
    half = content.index(b"\n", len(content) // 2) + 1
    (tmp_path / "danted.log.1.gz").write_bytes(gzip.compress(content[:half]))
    log.write_bytes(content[half:])
    parts = proxywatch("log", "--json", str(tmp_path / "danted.log.1.gz"), str(log)).stdout
    piped = subprocess.run(
        [sys.executable, "-m", "proxywatch", "log", "--json", "-"],
        input=gzip.compress(content), capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert json.loads(parts) == json.loads(piped)
    told = json.loads(parts)
    assert (told["successful"], told["failed"], told["health_checks"]) == (676, 270, 39)
    assert {"reason": "refused", "blame": "destination", "count": 32} in told["causes"]
    assert told["durations"]["count"] == 676


def test_what_the_log_hides_is_not_told() -> None:
    """`log: connect` alone: no bytes, no ends, no rate."""
    told = json.loads(proxywatch("log", "--json", str(FIXTURES / "connect.log.gz")).stdout)
    assert (told["failed"], told["success_rate_percent"], told["active"]) == (None, None, None)
    assert (told["closed"], told["received_bytes"], told["durations"]["count"]) == ({}, {}, 0)
    assert told["cannot_tell"]
    text = proxywatch("log", str(FIXTURES / "connect.log.gz")).stdout
    assert "179 succeeded; not all that failed are logged" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"root:x:0:0:root:/root:/bin/bash\n", "no line of these is Dante's"),
        (b"", "no line of these"),
        (None, "No such file"),
    ],
)
def test_what_is_no_log_is_said_so(tmp_path: Path, content: bytes | None, words: str) -> None:
    """And the exit status is 1."""
    path = tmp_path / "other"
    if content is not None:
        path.write_bytes(content)
    done = proxywatch("log", str(path))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_damaged_is_said_so(log: Path, tmp_path: Path) -> None:
    """An archive that was cut."""
    packed = gzip.compress(log.read_bytes())
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    done = proxywatch("log", str(tmp_path / "cut.gz"))
    assert done.returncode == 1
    assert "damaged" in done.stderr


def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    """Of a line of more than 1 MiB the first 4 KiB; a last line without its newline is one."""
    path = tmp_path / "log"
    path.write_bytes(b"a\n" + b"x" * (5 << 20) + b"\nb\n" + b"y" * (3 << 20) + b"\nc")
    lines = b"".join(whole.lines(str(path))).split(b"\n")
    assert [len(line) for line in lines] == [1, 4096, 1, 4096, 1, 0]


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    """It is said, not raised."""
    with pytest.raises(SourceError, match="directory"):
        list(whole.lines(str(tmp_path)))


def test_what_a_terminal_would_act_on_is_escaped() -> None:
    """Whatever a destination or a line of another program holds."""
    escape = "\x1b[2J\x07\r\x9b\u202e\ud800"
    shown = log_report.text(
        report(
            dante=escape,
            unparsed=1,
            unparsed_example=escape,
            successful=1,
            failed=1,
            most_bytes=[Destination(escape, 5, 0)],
            most_failures=[Destination(escape, 5, 0)],
        )
    )
    assert all(it.isprintable() or it == "\n" for it in shown)
    assert "\\x1b[2J" in shown
    shown.encode()
