"""Both clocks in one, as fast as the work that it wakes can be done."""

import asyncio
import heapq
from itertools import count

_TURNS = 4
_STEP = 0.05


class FastClock:
    """Time passes by `pass_` alone; whoever waits is woken in order, at most twenty times a second."""

    def __init__(self, now: float) -> None:
        self._start = now
        self._elapsed = 0.0
        self._waiting: list[tuple[float, int, asyncio.Event]] = []
        self._order = count()

    def now(self) -> float:
        """Unix time."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._elapsed

    async def sleep_until(self, deadline: float) -> None:
        """Wait for a moment of the monotonic clock."""
        if deadline <= self._elapsed:
            await asyncio.sleep(0)
            return
        woken = asyncio.Event()
        heapq.heappush(self._waiting, (deadline, next(self._order), woken))
        await woken.wait()

    async def pass_(self, seconds: float) -> None:
        """Let so many seconds pass."""
        end = self._elapsed + seconds
        while self._waiting and self._waiting[0][0] <= end:
            self._elapsed = min(end, max(self._elapsed, self._waiting[0][0]) + _STEP)
            while self._waiting and self._waiting[0][0] <= self._elapsed:
                heapq.heappop(self._waiting)[2].set()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        self._elapsed = end
