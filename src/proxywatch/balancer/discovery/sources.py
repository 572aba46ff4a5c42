"""All sources of nodes at once: each is watched, and asked again when it failed; what it saw last stands meanwhile."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from random import Random

import msgspec

from proxywatch.balancer.discovery.sighting import Sighting
from proxywatch.balancer.discovery.source import Source
from proxywatch.clock import Clock
from proxywatch.errors import ProxywatchError

log = logging.getLogger(__name__)

_SHORTEST, _LONGEST = 1.0, 30.0  # seconds from a failure, or an end, to the next attempt
_LASTED = 30.0  # a watch that lasted so long ends for no fault of the source


class SourceState(msgspec.Struct, frozen=True):
    """How a source does.

    Attributes:
        nodes: How many it has in service; None before it was seen first.
        leaving: How many it has that get no new requests.
        dropped: Entries of which it makes no node.
        at: Unix time of its last sighting; None before the first.
        fault: Why it cannot be asked, or what of it cannot be read; empty when all is well.
        failures: How often it failed.
    """

    nodes: int | None = None
    leaving: int = 0
    dropped: int = 0
    at: float | None = None
    fault: str = ""
    failures: int = 0


class Sources:
    """Watches them; `run()` is a task of the daemon.

    Attributes:
        states: By name of the source.
        sightings: The last one of each.
    """

    def __init__(self, saw: Callable[[Mapping[str, Sighting]], None], *, clock: Clock, dice: Random) -> None:
        """Begin without sources.

        Args:
            saw: Called with the last sighting of each source whenever there is a new one.
            clock: Both clocks.
            dice: For moments of their own.
        """
        self.states: dict[str, SourceState] = {}
        self.sightings: dict[str, Sighting] = {}
        self._saw = saw
        self._clock = clock
        self._dice = dice
        self._sources: dict[str, Source] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    def configure(self, sources: Mapping[str, Source]) -> None:
        """Watch these from now on; one that is equal to what it was goes on undisturbed."""
        self._sources = dict(sources)
        for name in self.states.keys() - sources.keys():
            del self.states[name]
            self.sightings.pop(name, None)
        for name in sources:
            self.states.setdefault(name, SourceState())
        self._changed.set()

    async def run(self) -> None:
        """Watch for ever."""
        watched: dict[str, Source] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                for name in [it for it in watched if self._sources.get(it) != watched[it]]:
                    del watched[name]
                    self._tasks.pop(name).cancel()
                for name, source in self._sources.items():
                    if name not in watched:
                        watched[name] = source
                        self._tasks[name] = group.create_task(
                            self._keep(name, source), name=f"nodes of {name}"
                        )
                self._saw(self.sightings)
                await self._changed.wait()

    async def _keep(self, name: str, source: Source) -> None:
        """Watch one source, for ever."""
        wait = _SHORTEST
        while True:
            start = self._clock.monotonic()
            await self._follow(name, source)
            if self._clock.monotonic() - start > _LASTED:
                wait = _SHORTEST
            until = self._clock.monotonic() + wait * self._dice.uniform(1, 1.5)
            await self._clock.sleep_until(min(until, self._clock.monotonic() + _LONGEST))
            wait = min(_LONGEST, wait * 2)

    async def _follow(self, name: str, source: Source) -> None:
        """Watch one source until it fails or ends."""
        try:
            async with aclosing(source.watch()) as sightings:
                async for sighting in sightings:
                    self._take(name, sighting)
        except ProxywatchError as error:
            self._fail(name, str(error))
        except Exception as error:
            log.exception("source of nodes failed", extra={"source": name})
            self._fail(name, f"internal error: {type(error).__name__}")

    def _take(self, name: str, sighting: Sighting) -> None:
        before = self.states.get(name)
        if before is None:  # left out by a reload, a moment ago
            return
        fault = "; ".join(sighting.faults)
        failures = before.failures + bool(fault and fault != before.fault)
        state = SourceState(
            len(sighting.nodes), len(sighting.leaving), sighting.dropped, self._clock.now(), fault, failures
        )
        self.states[name] = state
        self._say(name, before.fault, state)
        if sighting != self.sightings.get(name):
            self.sightings[name] = sighting
            self._saw(self.sightings)

    def _fail(self, name: str, fault: str) -> None:
        before = self.states.get(name)
        if before is None:
            return
        self.states[name] = state = msgspec.structs.replace(before, fault=fault, failures=before.failures + 1)
        self._say(name, before.fault, state)

    def _say(self, name: str, before: str, state: SourceState) -> None:
        """Log a fault once, and its end."""
        if state.fault and state.fault != before:
            kept = "" if state.nodes is None else f"; its {state.nodes} nodes stay as they were"
            log.warning("source of nodes has a fault", extra={"source": name, "reason": state.fault + kept})
        elif before and not state.fault:
            log.info("source of nodes is well again", extra={"source": name})
