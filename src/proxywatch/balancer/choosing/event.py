"""What happens in the pool, for logs, the event stream and metrics. Every change has its reason."""

from typing import Any, Literal

import msgspec

Type = Literal[
    "joined",  # a node came into the pool
    "left",  # a node left it
    "ejected",  # out for failures, or told down
    "returned",  # back in service
    "withheld",  # failed often enough, but not ejected
    "exit_drift",  # its exit is wrong: open connections through it must be closed
    "exit_right",  # its exit is right again
    "wrong_exit",  # a connection was opened through a node that should not have been used
    "draining",  # the begin of a drain
    "drained",  # the end of a drain
    "undrained",  # a drain was called off
    "preferred",  # a country's preferred node changed
    "lease",  # a lease was given, moved or ended
    "decision",  # a choice was made
    "pressure",  # CPU or memory of a node's pod is above what is usual
    "relieved",  # and no longer is
    "strategy_failed",  # a strategy of a third party raised or answered nonsense
]


class Event(msgspec.Struct, frozen=True):
    """One change.

    Attributes:
        type: What happened.
        at: Unix time.
        node: To which node, or empty.
        country: Where, or empty.
        reason: Why, for people.
        detail: Further fields by name.
    """

    type: Type
    at: float
    node: str = ""
    country: str = ""
    reason: str = ""
    detail: dict[str, Any] = {}
