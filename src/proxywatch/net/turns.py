"""Shares each turn of the event loop among the clients that have work, so that no turn takes long.

A turn has a limit on time, on steps and on bytes written. Whoever has work while there is room goes on at
once. The others wait in line, each with one step at a time, and the loop looks at all sockets between two
turns: so whatever the clients of this server do, another port of the process waits for one turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

_SECONDS = 0.002
_STEPS = 512
_BYTES = 2 << 20


class Worker(Protocol):
    """A client that has work."""

    def work(self) -> None:
        """Do one step after the other while there is room in the turn; then wait in line again."""


class Turns:
    """The present turn, and the line of those who wait for the next.

    Args:
        now: Seconds of a clock that never steps.
        call_soon: Calls a function in the next turn; the running loop's when None.
    """

    def __init__(
        self,
        now: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._now = now
        self._call_soon = call_soon
        self._line: deque[Worker] = deque()
        self._begun = False
        self._until = 0.0
        self._steps = self._bytes = 0

    @property
    def busy(self) -> bool:
        """Whether somebody waits in line."""
        return bool(self._line)

    def offer(self, worker: Worker) -> bool:
        """Let a client work now if there is room; returns False when it has to wait in line."""
        if not self._begun:
            self._begin()
        if self._line or not self._room():
            self._line.append(worker)
            return False
        self._steps -= 1
        worker.work()
        return True

    def step(self) -> bool:
        """Count a step; returns whether there is room for another."""
        self._steps -= 1
        return self._room()

    def wrote(self, size: int) -> None:
        """Count bytes that were written."""
        self._bytes -= size

    def wait(self, worker: Worker) -> None:
        """Put a client with more work at the end of the line."""
        self._line.append(worker)

    def _room(self) -> bool:
        return self._steps > 0 and self._bytes > 0 and self._now() < self._until

    def _begin(self) -> None:
        self._begun = True
        self._steps, self._bytes = _STEPS, _BYTES
        self._until = self._now() + _SECONDS
        (self._call_soon or asyncio.get_running_loop().call_soon)(self._next)

    def _next(self) -> None:
        """The loop has turned."""
        self._begun = False
        if not self._line:
            return
        self._begin()
        for _ in range(len(self._line)):  # each once: who has more work waits again
            if not self._room():
                break
            self._steps -= 1
            self._line.popleft().work()
