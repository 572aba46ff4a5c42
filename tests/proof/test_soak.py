"""What grows is told from what stays."""

import pytest

from soak.__main__ import courses, slope
from soak.real import Sample


def samples(leak: float, until: float = 60) -> list[Sample]:
    """An hour of them, a minute apart; so many MB an hour are lost until a minute."""
    return [
        Sample(
            60.0 * minute, 42 + leak * min(minute, until) / 60 + 0.05 * (minute % 3), 21 + minute % 2, 3, 419
        )
        for minute in range(61)
    ]


@pytest.mark.parametrize(
    ("leak", "until", "flat"), [(0, 60, True), (0.5, 60, True), (3, 60, False), (1.5, 20, True)]
)
def test_a_leak_is_seen(*, leak: float, until: float, flat: bool) -> None:
    """Also one of a hundredth in the last third; what filled at the start is none."""
    memory, *others = courses(samples(leak, until))
    assert memory.flat == flat
    assert all(course.flat for course in others)
    assert memory.hourly == pytest.approx(leak if until == 60 else 0, abs=0.1)


def test_series_that_pile_up_are_seen() -> None:
    """Two every minute."""
    piled = [Sample(60.0 * minute, 42, 21, 3, 400 + 2 * minute) for minute in range(61)]
    assert {course.name: course.flat for course in courses(piled)}["series"] is False


def test_slope() -> None:
    """Of a line, and of a point."""
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(7, 1)]) == 0
