"""Runs the parts that the settings ask for: starts, keeps, replaces and stops them as the settings change.

A part is anything that a plan builds. One with `run()` has a task for as long as it is wanted; one with
`close()` is closed when it is not wanted any more, or when the supervisor ends.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar, runtime_checkable

log = logging.getLogger(__name__)

PartT = TypeVar("PartT")


@runtime_checkable
class Closing(Protocol):
    """A part that has something to finish when it is stopped."""

    async def close(self) -> None:
        """Finish soon."""


@dataclass(frozen=True, slots=True)
class Plan(Generic[PartT]):
    """How a part is built.

    Attributes:
        made_from: What the part depends on; a part is kept as long as this stays equal.
        build: Builds it; does no I/O.
        run: Makes the coroutine of its task; None for a part without one.
    """

    made_from: object
    build: Callable[[], PartT]
    run: Callable[[PartT], Coroutine[Any, Any, None] | None] = lambda _: None


@dataclass(slots=True)
class _Running(Generic[PartT]):
    made_from: object
    part: PartT
    task: asyncio.Task[None] | None = None


class Supervisor(Generic[PartT]):
    """The running parts, and the daemon's other tasks; an asynchronous context that ends them all.

    Args:
        patience: Seconds that a part may take to close.
        added: Called with the name and the part before its task starts.
        removed: Called with the name and the part when it is not wanted any more.
    """

    def __init__(
        self,
        patience: float,
        added: Callable[[str, PartT], None] = lambda _name, _part: None,
        removed: Callable[[str, PartT], None] = lambda _name, _part: None,
    ) -> None:
        self._patience = patience
        self._added = added
        self._removed = removed
        self._running: dict[str, _Running[PartT]] = {}
        self._tasks = asyncio.TaskGroup()
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        parts = {name: running.part for name, running in self._running.items()}
        for task in (*self._loops, *(running.task for running in self._running.values())):
            if task is not None:
                task.cancel()
        await self._tasks.__aexit__(*failure)  # type: ignore[arg-type]
        for name, part in parts.items():
            await self._close(name, part)

    def start(self, **loops: Coroutine[Any, Any, None]) -> None:
        """Run what never ends by itself, by name, until the supervisor does."""
        self._loops += [self._tasks.create_task(loop, name=name) for name, loop in loops.items()]

    def apply(self, plans: Mapping[str, Plan[PartT]]) -> None:
        """Make the running parts those of the plans.

        A part whose plan did not change is kept with all that it has counted.
        """
        fresh = {
            name: _Running(plan.made_from, plan.build())
            for name, plan in plans.items()
            if name not in self._running or self._running[name].made_from != plan.made_from
        }
        for name in [name for name in self._running if name in fresh or name not in plans]:
            self._drop(name)
        for name, running in fresh.items():
            self._added(name, running.part)
            coroutine = plans[name].run(running.part)
            if coroutine is not None:
                running.task = self._tasks.create_task(coroutine, name=name)
            self._running[name] = running

    def _drop(self, name: str) -> None:
        running = self._running.pop(name)
        self._removed(name, running.part)
        if running.task is not None:
            running.task.cancel()
        self._tasks.create_task(self._close(name, running.part), name=f"close {name}")

    async def _close(self, name: str, part: PartT) -> None:
        if not isinstance(part, Closing):
            return
        try:
            async with asyncio.timeout(self._patience):
                await part.close()
        except Exception as error:
            log.exception("did not close", extra={"part": name, "reason": str(error)})
