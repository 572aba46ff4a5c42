"""Trends against series whose truth is known: flat, rising, daily, noisy, with gaps and ties."""

from itertools import pairwise
from math import pi, sin
from random import Random

import pytest

from proxywatch.balancer.history.trend import Point, mann_kendall, theil_sen, thin, trend

HOUR = 3600.0


def every(minutes: float, hours: float, value: object) -> list[Point]:
    """Points of a function of hours."""
    count = round(hours * 60 / minutes)
    return [(index * minutes * 60, float(value(index * minutes / 60))) for index in range(count)]  # type: ignore[operator]


def test_ties_are_taken_off_the_variance() -> None:
    """B21: six zeros and four ones: S 24, variance 88.00, p 0.0142."""
    s, variance, p = mann_kendall([0] * 6 + [1] * 4)
    assert s == 24
    assert variance == pytest.approx(88.0)
    assert p == pytest.approx(0.0142, abs=0.0001)


def test_equal_values_are_stable_and_divide_nothing() -> None:
    """B21: a variance of nothing; and equal is not degrading."""
    assert mann_kendall([5.0] * 10) == (0, 0, 1.0)
    assert trend(every(30, 24, lambda _: 5.0), rising_is_better=True).verdict == "stable"


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_too_few_points_are_no_trend(count: int) -> None:
    """B21: empty lists and single samples crash nothing."""
    found = trend(every(30, 24, lambda hour: hour)[:count], rising_is_better=True)
    assert found == ("insufficient_data", None, None, count)


def test_first_and_last_alone_decide_nothing() -> None:
    """B21: one outlier at the end of a flat series is no trend."""
    points = every(30, 24, lambda hour: 20 + Random(hour).uniform(-1, 1))
    points[-1] = (points[-1][0], 90.0)
    assert trend(points, rising_is_better=True).verdict == "stable"


@pytest.mark.parametrize(("slope", "better", "verdict"), [
    (2.0, True, "improving"), (-2.0, True, "degrading"), (2.0, False, "degrading"), (-2.0, False, "improving"),
])  # fmt: skip
def test_clear_series_are_told_by_their_keys(slope: float, better: bool, verdict: str) -> None:  # noqa: FBT001
    """B21: rising speed and falling latency are better; the slope is that of the truth."""
    dice = Random(1)
    found = trend(every(5, 24, lambda hour: 100 + slope * hour + dice.gauss(0, 3)), rising_is_better=better)
    assert found.verdict == verdict
    assert found.per_hour == pytest.approx(slope, rel=0.1)


def test_noise_is_rarely_a_trend() -> None:
    """As rarely as the test says: one in twenty."""
    wrong = 0
    for seed in range(200):
        dice = Random(seed)
        points = every(30, 24, lambda _, dice=dice: dice.gauss(100, 10))
        wrong += trend(points, rising_is_better=True).verdict != "stable"
    assert wrong <= 20


def test_a_daily_curve_is_no_trend() -> None:
    """It ends where it began."""
    points = every(30, 24, lambda hour: 50 + 20 * sin(2 * pi * hour / 24))
    found = trend([*points, *((at + 24 * HOUR, value) for at, value in points)], rising_is_better=True)
    assert abs(found.per_hour or 0) < 0.5


def test_gaps_are_passed_by_time_and_not_by_index() -> None:
    """Half of the samples missing, the slope is the same."""
    dice = Random(2)
    points = every(5, 24, lambda hour: 10 + 3 * hour)
    kept = [point for point in points if dice.random() < 0.5 and not 6 * HOUR < point[0] < 12 * HOUR]
    assert trend(kept, rising_is_better=True).per_hour == pytest.approx(3, rel=0.02)


def test_half_minutes_are_averaged_before_the_test() -> None:
    """Samples that stand close together are alike; at most 48 means are compared, each of five minutes or more."""
    points = every(0.5, 24, lambda hour: hour)
    thinned = thin(points)
    assert len(thinned) <= 48
    close = thin(every(0.5, 1, lambda hour: hour))
    assert all(later[0] - earlier[0] >= 299 for earlier, later in pairwise(close))


def test_the_median_slope_ignores_outliers() -> None:
    """A third of the points may be anything."""
    points = [(float(at), 2.0 * at) for at in range(30)]
    wild = [(at, value if index % 4 else 1e6) for index, (at, value) in enumerate(points)]
    assert theil_sen(wild) == pytest.approx(2.0, rel=0.2)
    assert theil_sen([(1.0, 5.0), (1.0, 6.0)]) == 0.0
