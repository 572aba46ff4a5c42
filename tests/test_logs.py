"""Log lines: one per event, in either form, whatever is in it."""

import json
import logging
import sys
from typing import Literal

import pytest

from proxywatch.logs import Formatter


def record(message: str, **fields: object) -> logging.LogRecord:
    line = logging.makeLogRecord({"msg": message, "levelname": "WARNING", "created": 1795262692.98})
    line.__dict__.update(fields)
    return line


def test_logfmt_quotes_what_needs_it() -> None:
    """Spaces, quotes, equal signs and line breaks stay within one line."""
    line = Formatter("logfmt").format(record("no luck", collector="latency", reason='a "b"\nc=d', empty=""))
    assert line == (
        'ts=2026-11-21T12:04:52.980Z level=warning msg="no luck" collector=latency '
        'reason="a \\"b\\"\\nc=d" empty=""'
    )


def test_json_has_the_same_fields() -> None:
    """For those who collect logs by machine."""
    line = Formatter("json").format(record("no luck", collector="latency"))
    assert json.loads(line) == {
        "ts": "2026-11-21T12:04:52.980Z", "level": "warning", "msg": "no luck", "collector": "latency",
    }  # fmt: skip


def test_a_traceback_is_one_line_too() -> None:
    """One event, one line."""
    line = ""
    try:
        int("two\nlines")
    except ValueError:
        line = Formatter("logfmt").format(record("broken", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "ValueError: invalid literal" in line


@pytest.mark.parametrize("shape", ["logfmt", "json"])
def test_what_a_terminal_would_obey_is_escaped(shape: Literal["logfmt", "json"]) -> None:
    """Whoever looks at the log by a pager or `journalctl` sees text."""
    text = "a\x1b[2J\x07\x9b31m\u202eb\udcff"
    line = Formatter(shape).format(record(text, target=text))
    assert line.isprintable()
