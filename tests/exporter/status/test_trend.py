"""A value over the last hours, bounded."""

from hypothesis import given
from hypothesis import strategies as st

from proxywatch.exporter.status.trend import Trend


def test_means_per_step() -> None:
    """Values of one step are averaged; steps without any are gaps."""
    trend = Trend(points=10, finest=5, coarsest=5)
    for now, value in ((100, 1.0), (102, 3.0), (104, None), (106, 7.0), (121, 9.0)):
        trend.add(now, value)
    assert trend.values == [2.0, 7.0, None, None, 9.0]


def test_joins_neighbours_when_full() -> None:
    """Each point then stands for twice the time, aligned, so that later values join the right ones."""
    trend = Trend(points=4, finest=5, coarsest=10)
    for number in range(5):
        trend.add(100 + number * 5, float(number))
    assert (trend.step, trend.values) == (10, [0.5, 2.5, 4.0])
    trend.add(126, 6.0)
    assert trend.values == [0.5, 2.5, 5.0]


def test_joins_the_same_neighbours_wherever_it_begins() -> None:
    """Steps are aligned to the clock, so an odd first point stays alone."""
    trend = Trend(points=4, finest=5, coarsest=10)
    for number in range(5):
        trend.add(105 + number * 5, float(number))
    assert (trend.step, trend.values) == (10, [0.0, 1.5, 3.5])


def test_drops_the_oldest_when_coarse() -> None:
    """The last hours are kept."""
    trend = Trend(points=3, finest=5, coarsest=5)
    for number in range(10):
        trend.add(number * 5, float(number))
    assert trend.values == [7.0, 8.0, 9.0]


def test_a_long_gap_costs_nothing() -> None:
    """A machine that slept for a year does not make a year's points."""
    trend = Trend(points=3, finest=5, coarsest=5)
    trend.add(0, 1.0)
    trend.add(31_536_000, 2.0)
    assert trend.values == [None, None, 2.0]


@given(st.lists(st.tuples(st.floats(0, 500), st.none() | st.floats(-1e6, 1e6)), max_size=300))
def test_is_bounded_and_keeps_to_the_values(steps: list[tuple[float, float | None]]) -> None:
    """Never more points than allowed, and each within the range of what was added."""
    trend = Trend(points=8, finest=5, coarsest=40)
    now = 0.0
    seen: list[float] = []
    for pause, value in steps:
        now += pause
        trend.add(now, value)
        seen += [] if value is None else [value]
        assert len(trend.values) <= 8
        assert all(
            min(seen) - 1e-6 <= point <= max(seen) + 1e-6 for point in trend.values if point is not None
        )
