"""How a DNS handler tells whether its answer came from a cache."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Answer(Generic[M]):
    """An answer, and where it came from: what a handler may return instead of the bare message.

    Args:
        message: The response; the server behind the wrapper is given this alone.
        cached: True when it came from a cache, False when it had to be asked for, None when it is no matter
            for one.
    """

    message: M
    cached: bool | None = None


class Told(Protocol):
    """What `tell_cached` tells."""

    cached: bool | None


current: ContextVar[Told | None] = ContextVar("current_query", default=None)


def tell_cached(cached: bool | None) -> None:  # noqa: FBT001 - the one thing that it tells
    """Say, from anywhere below a wrapped handler, whether the answer to the present query came from a cache.

    The last call counts; what an `Answer` says counts more. Outside of a query nothing happens.
    """
    query = current.get()
    if query is not None:
        query.cached = cached
