"""What a download says of the speed of a node, and how much to download for it. Pure.

One megabyte over a long way measures the way: TCP starts with ten segments and doubles per round trip, so it takes
seven round trips, and four more until the first byte, however fast the line is. At 50 ms that is 14.5 Mbit/s, at 200
ms 3.6. Such a figure is marked `rtt_bound`. Goodput is taken from the first byte on, over two seconds or more; where
a test was over sooner, the next one is larger.
"""

from collections.abc import Sequence
from math import ceil, log2

MEGA = 1e6
LONG_ENOUGH = 2.0  # seconds of body for a goodput
STEPS = (1, 10, 25)  # sizes, as multiples of the smallest
_FIRST_WINDOW = 14_600  # bytes: ten segments
_SET_UP = 4  # round trips before the first byte: to the proxy, its handshake, TLS
_NEAR = 0.6


def mbps(size: float, seconds: float) -> float:
    """Megabits, of 10^6 bits, per second."""
    return size * 8 / MEGA / seconds


def round_trips(size: int) -> int:
    """Until a body of so many bytes is through, when nothing but slow start holds it up."""
    return ceil(log2(size / _FIRST_WINDOW + 1))


def bound_mbps(size: int, rtt: float) -> float:
    """What a test of so many bytes can show at most at a round trip of `rtt` seconds."""
    return mbps(size, (round_trips(size) + _SET_UP) * rtt)


def rtt_bound(size: int, seconds: float, rtt: float | None) -> bool:
    """Whether a test measured the round trip rather than the line: it shows most of what the round trip allows.

    Args:
        size: Bytes of body.
        seconds: From the begin of the test to its end.
        rtt: From the request to the first byte of the answer; None when unknown.
    """
    return rtt is not None and rtt > 0 and mbps(size, seconds) >= _NEAR * bound_mbps(size, rtt)


def goodput_mbps(bytes_per_second: float | None, body_seconds: float | None) -> float | None:
    """Goodput after the first byte; None of a body that took less than two seconds."""
    if bytes_per_second is None or body_seconds is None or body_seconds < LONG_ENOUGH:
        return None
    return bytes_per_second * 8 / MEGA


def size_for(sizes: Sequence[int], known: float | None, share: float) -> int:
    """How much to download: the least that takes two seconds at the speed that is known, within a share of the budget.

    Args:
        sizes: To choose from, the smallest first; that one is taken whatever the share is.
        known: Bytes per second of body; None when nothing is known.
        share: Bytes that this test may cost.
    """
    if known is None:
        return sizes[0]
    wanted = next((size for size in sizes if size / known >= LONG_ENOUGH), sizes[-1])
    return max((size for size in sizes if size <= min(wanted, share)), default=sizes[0])


def interval_within(interval: float, nodes: int, cost: int, budget: int, day: float) -> float:
    """Seconds between two tests of a node, so that the smallest tests of all nodes take at most 80 % of the budget.

    The rest is for tests that are asked for.
    """
    if not budget or not nodes:
        return interval
    return max(interval, nodes * cost * day / (0.8 * budget))
