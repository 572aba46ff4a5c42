"""The clocks of the machine, as one object that tests replace."""

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol, Self


class Clock(Protocol):
    """Two clocks and a way to wait: `now` for stamps, `monotonic` for intervals."""

    def now(self) -> float:
        """Unix time in seconds; may step."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never steps."""

    async def sleep_until(self, deadline: float) -> None:
        """Wait until `monotonic()` has reached the deadline."""


_DRIFT = 1.0  # seconds between the clocks that are no step of one of them


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment on both clocks: the wall clock's to show, the monotonic one's to measure an age.

    Attributes:
        unix: Unix time, as the wall clock had it then.
        monotonic: The same moment on the clock that never steps.
    """

    unix: float
    monotonic: float

    @classmethod
    def of(cls, clock: Clock) -> Self:
        """Now."""
        return cls(clock.now(), clock.monotonic())

    def age(self, clock: Clock) -> float:
        """Seconds since then, whatever the wall clock did meanwhile."""
        return max(0.0, clock.monotonic() - self.monotonic)

    def shown(self, clock: Clock) -> float:
        """Unix time of it by the wall clock of today: another one than `unix` after the clock was set."""
        now = clock.now() - self.age(clock)
        return self.unix if abs(now - self.unix) < _DRIFT else now


class SystemClock:
    """The real thing; asked a dozen times per relayed connection, so without a frame of its own."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep_until(self, deadline: float) -> None:
        """Wait; a deadline in the past yields to the loop once."""
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))
