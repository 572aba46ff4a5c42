"""Who listens to which events, and when the listeners run."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from proxywatch.instrument.listeners import NOTHING, Delivery, Listener, TaskListener, listener

E = TypeVar("E")

GRACE = 1.0
QUEUE = 1000
_POLL = 0.01


class Channel(Generic[E]):
    """One kind of event. Where nobody is among its `listeners`, an event need not even be made."""

    __slots__ = ("_lock", "_past", "listeners")

    def __init__(self) -> None:
        self.listeners: tuple[Listener[E], ...] = ()
        self._past = NOTHING
        self._lock = threading.Lock()

    def tell(self, event: E) -> None:
        """Tell an event to all who listen."""
        for one in self.listeners:
            one.put(event)

    def add(self, one: Listener[E]) -> None:
        """Somebody listens."""
        with self._lock:
            self.listeners = (*self.listeners, one)

    def remove(self, one: Listener[E]) -> None:
        """Somebody listens no more; what became of its events is still counted."""
        one.end()
        with self._lock:
            if one in self.listeners:
                self.listeners = tuple(other for other in self.listeners if other is not one)
                self._past += one.delivery

    def delivery(self) -> Delivery:
        """What became of all events of this kind."""
        with self._lock:
            return sum((one.delivery for one in self.listeners), self._past)


class Subscription(Generic[E]):
    """A listener's place; `cancel` gives it up."""

    __slots__ = ("_channel", "_listener")

    def __init__(self, channel: Channel[E], one: Listener[E]) -> None:
        self._channel = channel
        self._listener = one

    @property
    def delivery(self) -> Delivery:
        """What became of this listener's events so far."""
        return self._listener.delivery

    def cancel(self) -> None:
        """Tell this listener nothing more; what still waits for it is lost."""
        self._channel.remove(self._listener)


class Hub:
    """Keeps listeners, and runs those that are coroutine functions while it is entered by `async with`.

    On leaving, listeners have `grace` seconds for the events that still wait; then all are ended.
    """

    def __init__(self, channels: tuple[Channel[Any], ...], grace: float) -> None:
        self._channels = channels
        self._grace = grace
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def delivery(self) -> Delivery:
        """What became of the events of all listeners, past ones too."""
        return sum((channel.delivery() for channel in self._channels), NOTHING)

    def _subscribe(
        self, channel: Channel[E], call: Callable[[E], object], size: int, *, inline: bool
    ) -> Subscription[E]:
        one = listener(call, size=size, inline=inline)
        channel.add(one)
        self._start(one)
        return Subscription(channel, one)

    def _start(self, one: Listener[Any]) -> None:
        if self._group is not None and isinstance(one, TaskListener):
            task = self._group.create_task(one.run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        for channel in self._channels:
            for one in channel.listeners:
                self._start(one)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        try:
            await self._empty()
        finally:
            for channel in self._channels:
                for one in channel.listeners:
                    channel.remove(one)
            for task in self._tasks:
                task.cancel()
            if group is not None:
                await group.__aexit__(None, None, None)

    async def _empty(self) -> None:
        """Wait until no events wait, but not for long."""
        end = asyncio.get_running_loop().time() + self._grace
        while self.delivery.waiting and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - threads too
            await asyncio.sleep(_POLL)
