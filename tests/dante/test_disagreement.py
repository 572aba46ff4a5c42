"""Counts that go apart, and stay so."""

from proxywatch.dante.disagreement import Disagreement


def compare(*readings: tuple[float, int | None, int | None]) -> dict[str, bool]:
    """Feed (seconds, exact, other)."""
    disagreement = Disagreement({"exact": 0.0, "other": 0.1}, patience=60)
    for now, exact, other in readings:
        disagreement.observe(now, {"exact": exact, "other": other})
    return disagreement.verdicts


def test_longer_than_the_patience() -> None:
    """Off by much in every reading of more than a minute."""
    assert compare((0, 100, 80), (60, 100, 80)) == {"other": False}
    assert compare((0, 100, 80), (60.1, 100, 120)) == {"other": True}


def test_one_reading_in_agreement_starts_anew() -> None:
    """What comes and goes is the churn of a busy server."""
    assert compare((0, 100, 80), (30, 100, 91), (61, 100, 80), (120, 100, 80)) == {"other": False}


def test_a_small_difference_is_none() -> None:
    """Two of few, or a tenth of many."""
    assert compare((0, 0, 2), (90, 3, 1)) == {"other": False}
    assert compare((0, 1000, 900), (90, 1000, 1100)) == {"other": False}


def test_what_is_not_known_is_not_compared() -> None:
    """A verdict needs two; a source that comes back starts anew."""
    assert compare((0, 100, None), (90, None, 1)) == {}
    assert compare((0, 100, 1), (50, 100, None), (90, 100, 1)) == {"other": False}
