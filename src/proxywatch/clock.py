"""The clocks of the machine, as one object that tests replace."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks and a way to wait: `now` for stamps, `monotonic` for intervals."""

    def now(self) -> float:
        """Unix time in seconds; may step."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never steps."""

    async def sleep_until(self, deadline: float) -> None:
        """Wait until `monotonic()` has reached the deadline."""


class SystemClock:
    """The real thing; asked a dozen times per relayed connection, so without a frame of its own."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep_until(self, deadline: float) -> None:
        """Wait; a deadline in the past yields to the loop once."""
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))
