"""Titles as a real Dante wrote them, for each way to start it."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.dante import title as dante_title
from proxywatch.dante.title import CHILDREN, ENOUGH, Title

RECORDED = Path(__file__).parent.parent / "fixtures" / "dante_title"


def titles(start: str) -> "Counter[Title | None]":
    return Counter(map(dante_title.parse, (RECORDED / start).read_bytes().splitlines()))


def test_whole() -> None:
    """Forty sessions and twelve that negotiate, with a command line that is long enough."""
    expected = Counter(
        {
            None: 1,  # the mother
            Title("monitor"): 1,
            Title("negotiate", 12, 96): 1,
            Title("negotiate", 0, 96): 1,
            Title("request", 0, 1): 17,
            Title("io", 32, 32): 1,
            Title("io", 8, 32): 1,
            Title("io", 0, 32): 1,
        }
    )
    assert titles("full_path_file_and_pid") == expected
    assert titles("full_path_and_file") == expected


def test_cut_before_the_slots() -> None:
    """`danted -f /etc/danted.conf` leaves room for the slots of io children alone."""
    assert titles("name_and_file").keys() == {
        None,
        Title("monitor"),
        Title("negotiate"),
        Title("request"),
        Title("io", 32, 32),
        Title("io", 8, 32),
        Title("io", 0, 32),
    }


def test_cut_within_the_kind() -> None:
    """`/usr/sbin/danted`, as Debian's unit starts it, leaves room for seven letters of the kind."""
    assert titles("full_path").keys() == {None, *map(Title, CHILDREN)}


def test_cut_before_the_kind() -> None:
    """`danted` alone tells nothing."""
    assert titles("bare_name").keys() == {None}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"sockd: io-child: 4/32 (1 in progress)\0\0\0", Title("io", 4, 32)),
        (b"danted: negotiate-child: 3/9\0\0", Title("negotiate")),
        (b"danted: negotiate-child: 3/9\0\0\0", Title("negotiate", 3, 9)),
        (b"danted: io-child: 4/32 (\0\0", Title("io", 4, 32)),
        (b"danted: io-child: 40/32 (0 in progress)\0\0\0", Title("io")),
        (b"danted: r\0\0", Title("request")),
        (b"danted: \0\0", None),
        (b"danted: other-child: 1/1\0\0\0", None),
        (b"danted\0-f\0a: io-child: 1/32\0", None),
        (b"", None),
    ],
)
def test_one_line(line: bytes, expected: Title | None) -> None:
    """Other names, cuts through a number, and what is no title."""
    assert dante_title.parse(line) == expected


@given(
    child=st.sampled_from(["negotiate", "request", "io"]),
    used=st.integers(0, 96),
    room=st.integers(0, 80),
)
def test_a_cut_title_never_tells_a_wrong_number(child: str, used: int, room: int) -> None:
    """Whatever the room, the slots are right or not told; from ENOUGH on they are told."""
    text = f"danted: {child}-child: {used}/96".encode()
    memory = text[: max(room - 1, 0)].ljust(room + 1, b"\0")
    title = dante_title.parse(memory)
    if title and title.slots is not None:
        assert title == Title(child, used, 96)
    if room >= ENOUGH:
        assert title == Title(child, used, 96)


@given(st.binary(max_size=80))
def test_any_memory(line: bytes) -> None:
    """A title or none, never an error, and never more slots in use than there are."""
    title = dante_title.parse(line)
    assert title is None or title.child in CHILDREN
    if title and title.slots is not None:
        assert title.used is not None
        assert 0 <= title.used <= title.slots
