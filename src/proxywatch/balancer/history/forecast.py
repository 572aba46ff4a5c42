"""The load of the next hours: what is usual at that hour of the day, and how today differs from it. Pure.

The usual is the median of the same hour of the days before. The difference is followed by Holt's method with a damped
trend. The interval comes from how wrong the same method was on the past: each hour of the last days is predicted from
what was known before it, and the errors' tenth and ninetieth percent are put around the prediction.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Literal, NamedTuple

LEAST = 24  # samples
HOUR = 3600.0
_ALPHA, _BETA, _PHI = 0.5, 0.1, 0.9
_MOST_ORIGINS = 72
_LEAST_ERRORS = 8
_DAY = 24


class Hour(NamedTuple):
    """The prediction for an hour.

    Attributes:
        hour: Hours since 1970 at its begin.
        p10: Nine times of ten it will be more.
        p50: As likely more as less.
        p90: Nine times of ten it will be less.
    """

    hour: int
    p10: float
    p50: float
    p90: float


class Forecast(NamedTuple):
    """A prediction.

    Attributes:
        status: `ok`, or `insufficient_data` of less than 24 samples.
        hours: The hours to come.
        samples: How many hours it was made from.
        error: Mean absolute error of the same method on the past; None where there is too little of it.
        tested: On how many hours.
    """

    status: Literal["ok", "insufficient_data"]
    hours: tuple[Hour, ...]
    samples: int
    error: float | None = None
    tested: int = 0


def forecast(history: Mapping[int, float], now: int, hours: int) -> Forecast:
    """Predict.

    Args:
        history: Values by hours since 1970; there may be gaps.
        now: The hour that is not over; what is known of it is left out.
        hours: How many to predict, itself among them; at most as many as there is history.
    """
    known = {hour: value for hour, value in sorted(history.items()) if hour < now}
    if len(known) < LEAST:
        return Forecast("insufficient_data", (), len(known))
    horizon = max(1, min(hours, len(known)))
    central = predict(known, now, horizon)
    errors = backtest(known, min(horizon, _DAY))
    most = 2 * max(known.values())
    flat = [error for each in errors for error in each]
    usual = median(known.values())
    found = []
    for ahead, p50 in enumerate(central):
        spread = sorted(errors[min(ahead, len(errors) - 1)])
        if len(spread) < _LEAST_ERRORS:
            spread = sorted(value - usual for value in known.values())
        low, high = quantile(spread, 0.1), quantile(spread, 0.9)
        found.append(
            Hour(now + ahead, _within(min(p50, p50 + low), most), p50, _within(max(p50, p50 + high), most))
        )
    return Forecast("ok", tuple(found), len(known), fmean(map(abs, flat)) if flat else None, len(flat))


def predict(known: Mapping[int, float], first: int, hours: int) -> list[float]:
    """The central prediction of so many hours from `first` on, from what is known before it."""
    usual = _usual(known)
    level, slope = holt(known, usual)
    last = max(known)
    most = 2 * max(known.values())
    found = []
    for hour in range(first, first + hours):
        steps = hour - last
        drift = slope * sum(_PHI**step for step in range(1, min(steps, 100) + 1))
        found.append(_within(usual[hour % _DAY] + level + drift, most))
    return found


def backtest(known: Mapping[int, float], hours: int) -> list[list[float]]:
    """The errors of predictions of the past, by hours ahead; each is made from what was known before its begin."""
    errors: list[list[float]] = [[] for _ in range(hours)]
    ordered = list(known.items())
    for origin in range(max(LEAST, len(ordered) - _MOST_ORIGINS), len(ordered)):
        first = ordered[origin][0]
        for ahead, value in enumerate(predict(dict(ordered[:origin]), first, hours)):
            if first + ahead in known:
                errors[ahead].append(known[first + ahead] - value)
    return errors


def holt(known: Mapping[int, float], usual: Sequence[float]) -> tuple[float, float]:
    """Level and slope of the differences to the usual, with a damped trend; over a gap they drift on."""
    level = slope = 0.0
    before: int | None = None
    for hour, value in known.items():
        difference = value - usual[hour % _DAY]
        if before is None:
            level = difference
        else:
            for _ in range(min(hour - before, _DAY)):
                slope *= _PHI
                level += slope
            raised = level + _ALPHA * (difference - level)
            slope += _BETA * _ALPHA * (difference - level)
            level = raised
        before = hour
    return level, slope


def quantile(ordered: Sequence[float], share: float) -> float:
    """A quantile of sorted values, between the two next to it."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _usual(known: Mapping[int, float]) -> list[float]:
    """By hour of the day, the median of the days; of an hour that was never seen, that of all hours."""
    by_hour: list[list[float]] = [[] for _ in range(_DAY)]
    for hour, value in known.items():
        by_hour[hour % _DAY].append(value)
    everything = median(known.values())
    return [median(values) if values else everything for values in by_hour]


def _within(value: float, most: float) -> float:
    return min(max(0.0, value), most)
