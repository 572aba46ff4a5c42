"""Moments: their age never depends on the wall clock; what is shown follows it."""

import pytest

from proxywatch.clock import Moment
from support.fakes import FakeClock


@pytest.mark.parametrize("step", [3600, -3600, 0.1, 0])
async def test_a_moment_outlives_a_step_of_the_clock(step: float) -> None:
    """The age stays right; the time shown is what the clock of today would have said."""
    clock = FakeClock(1_000_000)
    moment = Moment.of(clock)
    await clock.advance(10)
    clock.step(step)
    assert moment.age(clock) == 10
    assert moment.shown(clock) == pytest.approx(1_000_000 + (step if abs(step) > 1 else 0))
