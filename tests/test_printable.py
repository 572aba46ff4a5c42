"""What is printed of others' text can be seen, and does nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode €", "plain text, ünïcode €"),
        ("\x1b[2J\x07\r\n", r"\x1b[2J\x07\r\n"),
        ("a\u202eb\u2066c\u200b", r"a\u202eb\u2066c\u200b"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\udcff", r"\udcff"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    """Controls of both sets, of writing direction, lone surrogates, line separators."""
    assert printable(text) == shown


@given(st.text())
def test_any_text_can_be_seen_and_encoded(text: str) -> None:
    """Whatever it held; lines stay lines where that is asked for."""
    assert printable(text).isprintable()
    assert printable_lines(text).count("\n") == text.count("\n")
    printable_lines(text).encode()
