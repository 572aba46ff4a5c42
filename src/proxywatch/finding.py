"""What a collector tells the operator when `proxywatch check` asks it to look at the machine."""

from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: `ok`; `unknown`, it cannot be judged; `hint`, it works but could show more; `fault`, something
            is missing.
        text: What was found, in a sentence.
        fix: What to do about it; empty when all is well.
    """

    level: Literal["ok", "unknown", "hint", "fault"]
    text: str
    fix: str = ""

    @classmethod
    def ok(cls, text: str) -> Self:
        """All is well."""
        return cls("ok", text)

    @classmethod
    def unknown(cls, text: str) -> Self:
        """It cannot be judged; the text says why."""
        return cls("unknown", text)

    @classmethod
    def hint(cls, text: str, fix: str) -> Self:
        """It works, and could tell more."""
        return cls("hint", text, fix)

    @classmethod
    def fault(cls, text: str, fix: str) -> Self:
        """Something is missing, and the collector is blind without it."""
        return cls("fault", text, fix)
