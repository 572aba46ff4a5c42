"""The heaviest keys in bounded memory."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxywatch.dante.sketch import TopKeys


def test_few_keys_are_exact() -> None:
    """No error until the first pruning."""
    keys = TopKeys(10)
    for number in range(20):
        keys.add(b"%d" % number, number)
    assert keys.top(2) == [(b"19", 19), (b"18", 18)]
    assert keys.error == 0


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 100)), max_size=400))
def test_the_bounds_hold(stream: list[tuple[int, int]]) -> None:
    """Never too high, too low by `error` at most, and never more than twice the size kept."""
    keys, truth = TopKeys(8), Counter[bytes]()
    for number, weight in stream:
        keys.add(b"%d" % number, weight)
        truth[b"%d" % number] += weight
        assert len(keys.save()[1]) <= 16
    kept = dict(keys.top(100))
    for key, weight in truth.items():
        assert weight - keys.error <= kept.get(key, 0) <= weight
    assert keys.error * (keys.size + 1) <= sum(truth.values())
