"""Rates are taken over whole seconds, whoever asks and however seldom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.instrument.samples import Samples, Window


class Traffic:
    """A total that is added to at given times, as a recorder does."""

    def __init__(self) -> None:
        self.total = 0
        self.samples = Samples(100.0, lambda: (self.total,))

    def add(self, now: float, amount: int) -> None:
        self.samples.advance(now)
        self.total += amount

    def rate(self, now: float, seconds: Window) -> float:
        return self.samples.rates(now, seconds)[0]


def test_present_second_is_left_out() -> None:
    """A rate does not depend on how far the present second has gone."""
    traffic = Traffic()
    traffic.add(100.5, 7)
    assert traffic.rate(100.9, 1) == 0.0
    assert traffic.rate(101.0, 1) == 7.0
    assert traffic.rate(101.9, 1) == 7.0
    assert traffic.rate(102.0, 1) == 0.0


def test_windows() -> None:
    """Steady traffic has the same rate over each window; a burst is spread over the longer ones."""
    traffic = Traffic()
    for second in range(60):
        traffic.add(100.0 + second, 50)
    assert [traffic.rate(160.0, seconds) for seconds in (1, 10, 60)] == [50.0, 50.0, 50.0]
    traffic.add(160.5, 600)
    assert [traffic.rate(161.0, seconds) for seconds in (1, 10, 60)] == [600.0, 105.0, 59 * 50 / 60 + 10]


def test_rate_does_not_rise_with_age() -> None:
    """An old connection's bytes of long ago are in no rate."""
    traffic = Traffic()
    traffic.add(100.0, 10**9)
    assert traffic.rate(161.0, 60) == 0.0
    assert traffic.rate(10**6, 60) == 0.0


def test_young() -> None:
    """While there have been fewer seconds than asked for, the rate is over those."""
    traffic = Traffic()
    traffic.add(100.0, 30)
    assert traffic.rate(103.0, 60) == 10.0


WINDOWS: tuple[Window, ...] = (1, 10, 60)


@pytest.mark.parametrize("seconds", WINDOWS)
@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 1000)), max_size=80))
def test_rate_is_what_came_in_the_window(seconds: Window, steps: list[tuple[float, int]]) -> None:
    """The same as adding up, from a list, what came in the last whole seconds."""
    traffic = Traffic()
    now, came = 100.0, []
    for wait, amount in steps:
        now += wait
        traffic.add(now, amount)
        came.append((now, amount))
    end = 100.0 + int(now - 100.0)
    span = min(seconds, int(now - 100.0))
    expected = sum(amount for at, amount in came if end - span <= at < end)
    assert traffic.rate(now, seconds) == pytest.approx(expected / span if span else 0.0)
