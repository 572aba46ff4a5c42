"""Where a setting was written, as an operator would look for it."""

import re
from dataclasses import dataclass

_NAME = re.compile(r"[\w./-]{0,60}")


@dataclass(frozen=True, slots=True)
class Place:
    """`proxywatch.yaml:12 latency.timeout`, or `environment PROXYWATCH_LATENCY_TIMEOUT`.

    Attributes:
        source: The file's name, or `environment VARIABLE`.
        path: Keys and indexes from the outermost mapping down, or below the variable.
        line: In the file, from 1; 0 without one.
    """

    source: str
    path: str = ""
    line: int = 0

    def key(self, name: str, line: int = 0) -> "Place":
        """The place of a key of the mapping that is here."""
        path = f"{self.path}.{shorten(name)}" if self.path else shorten(name)
        return Place(self.source, path[-_LONGEST:], line or self.line)

    def item(self, index: int, line: int = 0) -> "Place":
        """The place of an item of the sequence that is here."""
        return Place(self.source, f"{self.path}[{index}]", line or self.line)

    def __str__(self) -> str:
        if self.source.startswith("environment "):
            return f"{self.source}.{self.path}" if self.path else self.source
        line = f":{self.line}" if self.line else ""
        return f"{self.source}{line} {self.path}".strip()


_LONGEST = 200


def shorten(name: str) -> str:
    """A key as messages show it: its first word, since `password:hunter2` without a space is one key."""
    word = _NAME.match(name)
    shown = word[0] if word else ""
    return shown if shown == name else f"{shown}…"
