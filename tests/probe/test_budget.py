"""Bytes per day: spent, refused, and given again at midnight in UTC."""

from math import inf

from proxywatch.probe.budget import Budget

_DAY = 86400.0


def test_a_day_has_so_many_bytes() -> None:
    """What is spent is no longer left, and never less than nothing."""
    budget = Budget(100)
    assert budget.left(0) == 100
    budget.spend(60, 10)
    assert budget.left(_DAY - 1) == 40
    budget.spend(60, _DAY - 1)
    assert budget.left(_DAY - 1) == 0


def test_the_next_day_begins_anew() -> None:
    """At midnight in UTC."""
    budget = Budget(100)
    budget.spend(100, _DAY - 1)
    assert budget.left(_DAY) == 100


def test_zero_is_no_limit() -> None:
    """As the settings say."""
    budget = Budget(0)
    budget.spend(10**12, 0)
    assert budget.left(0) == inf
