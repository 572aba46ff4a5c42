"""The file of decisions: what was decided is in it, it is bounded, and it is replayed to the same choices."""

import asyncio
import logging
import os
import re
import tempfile
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.settings import Choosing
from proxywatch.balancer.cli import balancer
from proxywatch.balancer.journal import MOST_RECORDS, Journal, read
from proxywatch.balancer.node import Node, Upstream
from proxywatch.balancer.request import Request, Wishes
from proxywatch.errors import ParseError, SourceError
from support.fakes import FakeClock


def decide(journal: Journal, count: int) -> None:
    """Requests of a session whose name must stay out of the file, and others; each ends well."""
    clock = FakeClock()
    brain = PoolBrain(
        Choosing(), clock=clock.monotonic, wall=clock.now, dice=Random(1), on_decision=journal.add
    )
    brain.set_nodes(Node(f"se-{at}", "se", Upstream("socks5", "192.0.2.1", 1080)) for at in range(3))
    for at in range(count):
        wishes = Wishes(country="se", session="hunter2" if at % 5 == 0 else "")
        choice = brain.choose(Request(clock.monotonic(), clock.now(), "198.51.100.7", wishes=wishes))
        assert isinstance(choice, Choice)
        brain.connected(choice, 0.05)
        brain.closed(choice, 1, 1, 1.0, "client_closed")


def test_what_was_decided_is_replayed_to_the_same_choices(tmp_path: Path) -> None:
    """By the command, beside another strategy; without a word of who asked."""
    path = tmp_path / "decisions"
    journal = Journal(str(path), FakeClock())
    decide(journal, 60)
    asyncio.run(journal.write())
    assert len(list(read(str(path)))) == 60
    assert not re.search(rb"hunter2|198\.51", path.read_bytes())
    assert path.stat().st_mode & 0o777 == 0o600
    printed = CliRunner().invoke(
        balancer, ["replay", str(path), "--strategy", "random", "--strategy", "round_robin"]
    )
    assert printed.exit_code == 0, printed.output
    assert printed.output.startswith("60 of 60 the same")
    assert [line.split("  ")[0] for line in printed.output.splitlines()[2:]] == [
        "the journal", "random", "round_robin",
    ]  # fmt: skip
    biased = CliRunner().invoke(balancer, ["replay", str(path), "--bias", "0"])
    assert "as recorded, bias 0" in biased.output


def test_a_file_that_has_reached_its_size_is_set_aside(tmp_path: Path) -> None:
    """One older file is kept."""
    path = tmp_path / "decisions"
    journal = Journal(str(path), FakeClock(), largest=1)
    for _ in range(3):
        decide(journal, 2)
        asyncio.run(journal.write())
    assert not path.exists()
    assert len(list(read(f"{path}.1"))) == 2
    assert [it.name for it in tmp_path.iterdir()] == ["decisions.1"]


def test_what_cannot_be_written_is_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link, a FIFO, a folder: nothing is written through any of them."""
    caplog.set_level(logging.WARNING)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", ""):
        journal = Journal(str(tmp_path / name), FakeClock())
        for _ in range(2):
            decide(journal, 3)
            asyncio.run(journal.write())
        assert (journal.lost, bool(journal.fault)) == (6, True)
    assert len(caplog.messages) == 3
    assert not (tmp_path / "elsewhere").exists()


def test_too_many_that_wait_are_lost_and_counted() -> None:
    """The oldest ones."""
    journal = Journal("/nowhere/decisions", FakeClock())
    decide(journal, 10_003)
    assert journal.lost == 3


def test_a_last_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    """A line in the middle that is none is refused with its number."""
    path = tmp_path / "decisions"
    good = b'{"id":"1","candidates":[],"attempts":[]}\n'
    path.write_bytes(good + b'{"id":"2","cand')
    assert len(list(read(str(path)))) == 1
    path.write_bytes(good + b"nonsense\n" + good)
    with pytest.raises(ParseError, match="line 2 is no decision"):
        list(read(str(path)))
    path.write_bytes(good + b"x" * (2 << 20))
    with pytest.raises(ParseError, match="line 2 is longer"):
        list(read(str(path)))
    path.write_bytes(good * (MOST_RECORDS + 1))
    with pytest.raises(SourceError, match="more than 200,000"):
        list(read(str(path)))
    with pytest.raises(SourceError):
        list(read(str(tmp_path / "absent")))


@given(
    st.binary(max_size=200)
    | st.sampled_from([b'{"id":"1","candidates":[],"attempts":[{}]}', b'{"id":1,"attempts":3}'])
)
def test_whatever_is_in_a_line(content: bytes) -> None:
    """A decision, or one kind of fault, which the command prints as a sentence."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content + b"\n")
        file.flush()
        printed = CliRunner().invoke(balancer, ["replay", file.name])
    assert printed.exception is None or isinstance(printed.exception, SystemExit)


def test_a_world_is_simulated() -> None:
    """A scenario by its name, with a figure of the documented goal; names are listed; others are refused."""
    runner = CliRunner()
    listed = runner.invoke(balancer, ["simulate"])
    assert "herd" in listed.output
    printed = runner.invoke(balancer, ["simulate", "herd", "--nodes", "3"])
    rows = {line[:24].strip(): line[24:].split() for line in printed.output.splitlines()[3:] if line}
    assert int(rows["health_score"][3]) < 90 < int(rows["documented"][3]), printed.output
    for wrong in (["simulate", "nothing"], ["simulate", "herd", "--strategy", "best"], ["replay", "absent"]):
        refused = runner.invoke(balancer, wrong)
        assert refused.exit_code in {1, 2}
        assert "Traceback" not in refused.output
