"""Stand-ins that behave: a clock that moves when told to."""

import asyncio


class FakeClock:
    """Both clocks in one; whoever waits is woken by `advance`, and no test sleeps."""

    def __init__(self, now: float = 1_795_262_692.0) -> None:
        self._offset = now
        self._monotonic = 1000.0
        self._waiting: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self._offset + self._monotonic - 1000.0

    def monotonic(self) -> float:
        return self._monotonic

    def step(self, seconds: float) -> None:
        """Step the wall clock alone, as an administrator or NTP does."""
        self._offset += seconds

    def pass_by(self, seconds: float) -> None:
        """Let time pass in which nobody else gets his turn, as while something is computed."""
        self._monotonic += seconds

    async def sleep_until(self, deadline: float) -> None:
        if deadline <= self._monotonic:
            await asyncio.sleep(0)
            return
        event = asyncio.Event()
        self._waiting.append((deadline, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Move both clocks, waking in order whoever waits for a moment on the way."""
        end = self._monotonic + seconds
        while True:
            await settle()
            due = sorted((w for w in self._waiting if w[0] <= end), key=lambda w: w[0])
            if not due:
                break
            self._waiting.remove(due[0])
            self._monotonic = max(self._monotonic, due[0][0])
            due[0][1].set()
        self._monotonic = end
        await settle()


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)
