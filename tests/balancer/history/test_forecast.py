"""Forecasts against series whose truth is known, and within their bounds whatever the series is."""

from math import pi, sin
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.history.forecast import backtest, forecast, quantile


def daily(days: float, noise: float = 0.0, *, base: float = 50.0, seed: int = 1) -> dict[int, float]:
    dice = Random(seed)
    hours = range(round(days * 24))
    return {hour: max(0.0, base + 20 * sin(2 * pi * hour / 24) + dice.gauss(0, noise)) for hour in hours}


@pytest.mark.parametrize("count", [0, 1, 23])
def test_less_than_a_day_is_too_little(count: int) -> None:
    """Said, not guessed."""
    found = forecast(dict(list(daily(2).items())[:count]), 48, 3)
    assert (found.status, found.hours, found.samples) == ("insufficient_data", (), count)


def test_a_daily_curve_is_followed() -> None:
    """Each hour of the next day, after a week; and the interval is narrow."""
    truth = daily(8)
    found = forecast({hour: value for hour, value in truth.items() if hour < 168}, 168, 24)
    assert found.status == "ok"
    for hour in found.hours:
        assert hour.p50 == pytest.approx(truth[hour.hour], abs=0.5)
        assert hour.p10 <= hour.p50 <= hour.p90
        assert hour.p90 - hour.p10 < 3
    assert found.error == pytest.approx(0, abs=0.2)


def test_intervals_hold_what_they_say() -> None:
    """Of noisy days, about eight hours of ten are within p10 and p90; and the error that is told is the real one."""
    inside, errors, told = 0, [], []
    for seed in range(40):
        truth = daily(10, 5.0, seed=seed)
        now = 9 * 24 + seed % 24
        found = forecast({hour: value for hour, value in truth.items() if hour < now}, now, 1)
        (hour,) = found.hours
        inside += hour.p10 <= truth[hour.hour] <= hour.p90
        errors.append(abs(truth[hour.hour] - hour.p50))
        told.append(found.error or 0.0)
    assert 26 <= inside <= 39
    assert sum(told) / 40 == pytest.approx(sum(errors) / 40, rel=0.35)


def test_a_day_that_is_busier_than_usual_is_told_by_its_hours() -> None:
    """The difference of today is carried on."""
    history = daily(8)
    history |= {hour: value + 30 for hour, value in history.items() if hour >= 180}
    found = forecast(history, 192, 2)
    assert found.hours[0].p50 == pytest.approx(history[192 - 24] + 30, abs=8)


def test_gaps_are_passed_by_time() -> None:
    """Half of the hours missing, the curve is the same."""
    dice = Random(3)
    truth = daily(9)
    known = {hour: value for hour, value in truth.items() if hour < 192 and dice.random() < 0.5}
    for hour in forecast(known, 192, 24).hours:
        assert hour.p50 == pytest.approx(truth[hour.hour], abs=4)


def test_a_falling_series_is_not_forecast_below_nothing() -> None:
    """5 4 5 3 2 2 1 1: Holt without damping is below 0 at the fourth step."""
    falling = dict(enumerate([5, 4, 5, 3, 2, 2, 1, 1] * 1 + [1] * 16))
    reverse = {hour: 100.0 - 4 * hour for hour in range(25)}
    for history in (falling, reverse):
        found = forecast(history, 26, 24)
        assert all(hour.p10 >= 0 for hour in found.hours)


def test_no_horizon_is_longer_than_the_history() -> None:
    """A day of data says nothing of the week."""
    assert len(forecast(daily(1.5), 36, 168).hours) == 36


@given(st.dictionaries(st.integers(0, 200), st.floats(0, 1e6), min_size=24, max_size=60), st.integers(1, 30))
def test_whatever_the_series_forecasts_are_ordered_and_bounded(history: dict[int, float], hours: int) -> None:
    """From nothing to twice the most that was seen."""
    found = forecast(history, 201, hours)
    for hour in found.hours:
        assert 0 <= hour.p10 <= hour.p50 <= hour.p90 <= 2 * max(history.values())


def test_the_past_is_predicted_from_what_was_before_it() -> None:
    """What comes later changes no error of it."""
    history = daily(3, 5.0)
    longer = history | dict.fromkeys(range(72, 80), 1000.0)
    assert backtest(longer, 1)[0][: 72 - 24] == pytest.approx(backtest(history, 1)[0])


def test_quantiles() -> None:
    """Between the two values next to them."""
    assert quantile([1.0, 2.0, 3.0, 4.0, 5.0], 0.5) == 3
    assert quantile([0.0, 10.0], 0.1) == pytest.approx(1)
    assert quantile([7.0], 0.9) == 7
