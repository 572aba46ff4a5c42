"""The sketch keeps its promises about counts, errors and keys that it does not have."""

from collections import Counter
from itertools import accumulate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.instrument.space_saving import Counted, SpaceSaving

KEYS = st.lists(st.sampled_from("abcdefghijklmnop"), max_size=300)


@given(st.integers(1, 20), KEYS)
def test_bounds_hold(capacity: int, keys: list[str]) -> None:
    """Counts add up, are too high by their error at most, and hide no key that came often."""
    sketch, truth = SpaceSaving(capacity), Counter[str]()
    for key in keys:
        sketch.add(key)
        truth[key] += 1
        top = {it.key: it for it in sketch.top(capacity)}
        assert sum(it.count for it in top.values()) == sketch.total == truth.total()
        assert len(top) == min(capacity, len(truth))
        assert all(it.count - it.error <= truth[it.key] <= it.count for it in top.values())
        assert all(it.error <= sketch.error for it in top.values())
        assert sketch.error <= truth.total() / capacity
        assert all(count <= sketch.error for key, count in truth.items() if key not in top)


@given(KEYS)
def test_exact_while_there_is_room(keys: list[str]) -> None:
    """With a counter for every key nothing is estimated, and the order is by count, then by name."""
    sketch = SpaceSaving(16)
    for key in keys:
        sketch.add(key)
    expected = sorted(Counter(keys).items(), key=lambda item: (-item[1], item[0]))
    assert sketch.top(16) == [Counted(key, count, 0) for key, count in expected]


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.3])
def test_zipf(exponent: float) -> None:
    """200,000 draws of 50,000 names: the top 20 are the true ones, as far as counts that overlap allow."""
    dice = Random(7)
    weights = list(accumulate(1 / rank**exponent for rank in range(1, 50_001)))
    drawn = dice.choices(range(50_000), cum_weights=weights, k=200_000)
    sketch, truth = SpaceSaving(1000), Counter(drawn)
    for number in drawn:
        sketch.add(str(number))
    found = sketch.top(1000)
    for it in found:
        assert it.count - it.error <= truth[int(it.key)] <= it.count
    assert sketch.error <= 200_000 / 1000
    names = {it.key for it in found}
    assert all(str(number) in names for number, count in truth.items() if count > sketch.error)
    sure = [it for it in found if it.count - it.error > sketch.error][:20]
    best = {number for number, _ in truth.most_common(25)}
    assert len(sure) >= 10
    assert {int(it.key) for it in sure[:10]} <= best


def test_limits() -> None:
    """A limit of nothing gives nothing; a sketch without counters is refused."""
    sketch = SpaceSaving(2)
    sketch.add("a")
    assert sketch.top(0) == sketch.top(-1) == []
    with pytest.raises(ValueError, match="at least one"):
        SpaceSaving(0)
