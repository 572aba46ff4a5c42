"""What health is asked of: checks, each with its reason, and the answer that they make together."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One thing that health depends on.

    Attributes:
        name: Which.
        ok: Whether it is well.
        reason: Why, in a sentence.
        age_seconds: Since it was last well; None when it never was, or has no age.
    """

    name: str
    ok: bool
    reason: str
    age_seconds: float | None = None


Checks = Callable[[], Sequence[Check]]


class Health(msgspec.Struct, frozen=True):
    """The answer of /healthz?verbose."""

    status: Literal["ok", "failing"]
    checks: Sequence[Check]


def conclude(checks: Sequence[Check]) -> Health:
    """Well when every check is."""
    return Health("ok" if all(check.ok for check in checks) else "failing", checks)
