"""Two accounts of the same connections: when they are said to differ."""

import pytest

from proxywatch.tcp.comparison import Comparison, Ended


def course(
    kernel: tuple[int, int], log: tuple[int, int | None], *, seconds: int = 600, until: int = 10**6
) -> dict[str, bool]:
    """Both count so much each ten seconds; the difference ends at `until`."""
    comparison = Comparison()
    counts = [0, 0, 0, 0]
    for now in range(0, seconds, 10):
        rates = (*kernel, log[0], log[1] or 0) if now < until else (*kernel, *kernel)
        counts = [count + rate for count, rate in zip(counts, rates, strict=True)]
        payload = None if log[1] is None else counts[3]
        comparison.observe(float(now), Ended(counts[0], counts[1]), Ended(counts[2], payload))
    return comparison.differing


@pytest.mark.parametrize(
    ("kernel", "log", "differing"),
    [
        ((0, 0), (0, 0), {"connections": False, "bytes": False}),
        ((20, 10**6), (20, 10**6 - 20 * 900), {"connections": False, "bytes": False}),  # handshakes
        ((20, 10**6), (17, 10**6), {"connections": True, "bytes": False}),
        ((20, 10**6), (20, 8 * 10**5), {"connections": False, "bytes": True}),
        ((17, 8 * 10**5), (20, 10**6), {"connections": True, "bytes": True}),
        ((20, 10**6), (20, None), {"connections": False}),
    ],
)
def test_when_they_differ(
    kernel: tuple[int, int], log: tuple[int, int | None], differing: dict[str, bool]
) -> None:
    """Either may have more; handshakes are no difference; what cannot be compared is not judged."""
    assert course(kernel, log) == differing


def test_a_difference_has_to_stay() -> None:
    """For two minutes; and one that is past goes out of the window."""
    assert course((20, 0), (10, 0), seconds=120)["connections"] is False
    assert course((20, 0), (10, 0), seconds=180)["connections"] is True
    assert course((20, 0), (10, 0), seconds=700, until=200)["connections"] is False


def test_nothing_to_compare_with() -> None:
    """While one does not tell nothing is said, and after that it begins anew."""
    comparison = Comparison()
    for now in range(0, 300, 10):
        comparison.observe(float(now), Ended(now * 10, 0), Ended(0, 0))
    assert comparison.differing["connections"] is True
    comparison.observe(310, Ended(3100, 0), None)
    assert comparison.differing == {}
    comparison.observe(320, Ended(3200, 0), Ended(0, 0))
    assert comparison.differing == {"connections": False, "bytes": False}


def test_an_account_that_starts_again() -> None:
    """A counter that fell is no difference."""
    comparison = Comparison()
    comparison.observe(0, Ended(1000, 0), Ended(1000, 0))
    for now in range(10, 300, 10):
        comparison.observe(float(now), Ended(1000 + now, 0), Ended(now, 0))
    assert comparison.differing["connections"] is False
