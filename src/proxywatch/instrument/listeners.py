"""Listeners: told of events, without a way to hold up or break whoever tells them.

Each has a bounded queue of its own, and what does not fit is lost and counted. A plain function is called in
a thread of its own, a coroutine function in a task. At any moment, events told = delivered + failed + lost +
waiting, where an event that is being handled counts as waiting.
"""

import asyncio
import contextlib
import inspect
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

E = TypeVar("E")
T = TypeVar("T")


class Delivery(NamedTuple):
    """What became of the events of one listener, or of all of them.

    Args:
        delivered: The listener took them.
        failed: The listener raised.
        lost: The queue was full.
        waiting: In the queue, or being handled.
    """

    delivered: int
    failed: int
    lost: int
    waiting: int

    def __add__(self, other: object) -> "Delivery":
        """Counts of both."""
        if not isinstance(other, Delivery):
            return NotImplemented
        return Delivery(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


NOTHING = Delivery(0, 0, 0, 0)


class Listener(Generic[E]):
    """One listener, and its queue."""

    def __init__(self, call: Callable[[E], object], size: int) -> None:
        if size < 1:
            raise ValueError("A listener's queue holds at least one event.")
        self._call = call
        self._size = size
        self._queue: deque[E] = deque()
        self._lock = threading.Lock()
        self._delivered = self._failed = self._lost = 0
        self.ended = False

    @property
    def delivery(self) -> Delivery:
        """What became of its events so far."""
        with self._lock:
            return Delivery(self._delivered, self._failed, self._lost, len(self._queue))

    def put(self, event: E) -> None:
        """Tell an event; from any thread."""
        with self._lock:
            if self.ended:
                return
            if len(self._queue) >= self._size:
                self._lost += 1
                return
            self._queue.append(event)
            first = len(self._queue) == 1
        if first:
            self._wake()

    def end(self) -> None:
        """Tell it nothing any more; what waits, or is being handled, counts as lost."""
        with self._lock:
            self.ended = True
            self._lost += len(self._queue)
            self._queue.clear()
        self._wake()

    def _wake(self) -> None:
        """Tell whoever handles the queue that it has changed."""

    def _called(self, event: E) -> bool:
        """Call a plain function; True, or what it raises."""
        result = self._call(event)
        if result is not None and inspect.iscoroutine(result):
            result.close()
            raise TypeError("A listener that returns a coroutine must be a coroutine function.")
        return True

    def _next(self) -> E | None:
        with self._lock:
            return self._queue[0] if self._queue else None

    def _done(self, *, well: bool) -> None:
        with self._lock:
            if not self.ended:
                self._queue.popleft()
                self._delivered += well
                self._failed += not well


class ThreadListener(Listener[E]):
    """A plain function, called in a thread of its own."""

    def __init__(self, call: Callable[[E], object], size: int) -> None:
        super().__init__(call, size)
        self._ready = threading.Event()
        name = getattr(call, "__qualname__", type(call).__qualname__)
        threading.Thread(target=self._work, name=f"listener {name}", daemon=True).start()

    def _wake(self) -> None:
        self._ready.set()

    def _work(self) -> None:
        while not self.ended:
            self._ready.wait()
            self._ready.clear()
            while (event := self._next()) is not None:
                self._done(well=self._handle(event))

    def _handle(self, event: E) -> bool:
        try:
            return self._called(event)
        except BaseException:  # noqa: BLE001 - nothing but its own thread would hear of it
            return False


class TaskListener(Listener[E]):
    """A coroutine function, called in a task while somebody runs `run`."""

    def __init__(self, call: Callable[[E], Any], size: int) -> None:
        super().__init__(call, size)
        self._await = call
        self._ready = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def _wake(self) -> None:
        if self._loop is None or self._thread == threading.get_ident():
            self._ready.set()
        else:
            with contextlib.suppress(RuntimeError):  # its loop has been closed
                self._loop.call_soon_threadsafe(self._ready.set)

    async def run(self) -> None:
        """Handle events until it is ended."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        while not self.ended:
            while (event := self._next()) is not None:
                await self._handle(event)
                await asyncio.sleep(0)  # one that never waits must leave the loop to others
            if not self.ended:
                await self._ready.wait()
                self._ready.clear()

    async def _handle(self, event: E) -> None:
        well = False
        try:
            await self._await(event)
            well = True
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        except Exception:  # noqa: BLE001, S110 - counted, and the listener's own affair
            pass
        finally:
            self._done(well=well)


class InlineListener(Listener[E]):
    """A plain function, called at once. It can hold up, but not break, whoever tells it."""

    def put(self, event: E) -> None:
        """Tell an event."""
        if self.ended:
            return
        try:
            self._called(event)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - counted
            with self._lock:
                self._failed += 1
        else:
            with self._lock:
                self._delivered += 1


def listener(call: Callable[[T], object], *, size: int, inline: bool) -> Listener[T]:
    """The right kind of listener for a function."""
    if inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None)):  # noqa: B004
        if inline:
            raise ValueError("A coroutine function cannot be called inline.")
        return TaskListener(call, size)
    return InlineListener(call, size) if inline else ThreadListener(call, size)
