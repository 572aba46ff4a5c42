"""What a child of Dante writes over its command line.

    danted: monitor-child
    danted: negotiate-child: 3/96
    danted: request-child: 0/1
    danted: io-child: 4/32 (1 in progress)

The title has no more room than the command line had, so it is cut when Dante was started with a short one;
the memory then ends two NULs after it, else in more. A number that the cut may have touched is no number.
"""

import re
from typing import NamedTuple

CHILDREN = ("monitor", "negotiate", "request", "io")
ENOUGH = len("danted: negotiate-child: 96/96") + 2
"""A command line of as many characters shows all slots."""

_NAMES = {child: f"{child}-child".encode() for child in CHILDREN}
_SLOTS = re.compile(rb": (\d{1,6})/(\d{1,6})(?= |$)")
_CUT = 2


class Title(NamedTuple):
    """One child's.

    Attributes:
        child: One of CHILDREN.
        used: Slots in use; None when the title is cut before them, or the child has none.
        slots: Slots in all; None like `used`.
    """

    child: str
    used: int | None = None
    slots: int | None = None


def parse(command_line: bytes) -> Title | None:
    """The title in a process's command line, NULs included; None when there is none that tells the child."""
    text = command_line.rstrip(b"\0")
    _, colon, rest = text.partition(b": ")
    if not (colon and rest) or b"\0" in text:
        return None
    for child, name in _NAMES.items():
        if rest.startswith(name):
            cut = len(command_line) - len(text) <= _CUT
            return _with_slots(child, rest[len(name) :], cut=cut)
        if name.startswith(rest):
            return Title(child)
    return None


def _with_slots(child: str, rest: bytes, *, cut: bool) -> Title:
    match = _SLOTS.match(rest)
    if match is None or (cut and match.end() == len(rest)):
        return Title(child)
    used, slots = int(match[1]), int(match[2])
    return Title(child, used, slots) if used <= slots else Title(child)
