"""Whether a measurement rises or falls: the median slope of all pairs (Theil-Sen), if significant (Mann-Kendall).

Neither minds outliers, gaps or a distribution. The test takes samples for independent, which those of one half minute
are not: they are averaged to five minutes or more first.
"""

from collections.abc import Sequence
from itertools import combinations, groupby
from math import erfc, sqrt
from statistics import median
from typing import Literal, NamedTuple

Point = tuple[float, float]
Verdict = Literal["improving", "degrading", "stable", "insufficient_data"]

LEAST = 8  # points
SIGNIFICANT = 0.05
_LEAST_STEP = 300.0
_MOST_POINTS = 48


class Trend(NamedTuple):
    """A trend.

    Attributes:
        verdict: In a word.
        per_hour: Median slope; None of too few points.
        p: Probability of such an order of values without a trend; None of too few points.
        points: How many were looked at.
    """

    verdict: Verdict
    per_hour: float | None
    p: float | None
    points: int


def trend(points: Sequence[Point], *, rising_is_better: bool) -> Trend:
    """The trend of points, the oldest first; times in seconds."""
    thinned = thin(points)
    if len(thinned) < LEAST:
        return Trend("insufficient_data", None, None, len(thinned))
    slope = theil_sen(thinned)
    _, _, p = mann_kendall([value for _, value in thinned])
    verdict: Verdict = "stable"
    if p < SIGNIFICANT and slope != 0:
        verdict = "improving" if (slope > 0) == rising_is_better else "degrading"
    return Trend(verdict, slope * 3600, p, len(thinned))


def thin(points: Sequence[Point]) -> list[Point]:
    """Means of spans of five minutes or more, so that there are at most 48."""
    if not points:
        return []
    length = points[-1][0] - points[0][0]
    step = max(_LEAST_STEP, length / (_MOST_POINTS - 1))
    begin = points[0][0]
    spans = groupby(points, key=lambda point: int((point[0] - begin) // step))
    thinned = []
    for _, span in spans:
        group = list(span)
        thinned.append(
            (sum(at for at, _ in group) / len(group), sum(value for _, value in group) / len(group))
        )
    return thinned


def theil_sen(points: Sequence[Point]) -> float:
    """The median of the slopes of all pairs; 0 of less than two points."""
    slopes = [
        (late[1] - early[1]) / (late[0] - early[0])
        for early, late in combinations(points, 2)
        if late[0] > early[0]
    ]
    return median(slopes) if slopes else 0.0


def mann_kendall(values: Sequence[float]) -> tuple[int, float, float]:
    """S, its variance with ties taken off, and the two-sided probability; 1 where all values are equal."""
    n = len(values)
    s = sum((late > early) - (late < early) for early, late in combinations(values, 2))
    ties = [len(list(group)) for _, group in groupby(sorted(values))]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    if variance <= 0 or s == 0:
        return s, max(0.0, variance), 1.0
    z = (abs(s) - 1) / sqrt(variance)
    return s, variance, erfc(z / sqrt(2))
