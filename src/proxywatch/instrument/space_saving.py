"""The most frequent keys of an endless stream, with a fixed number of counters (Space-Saving).

Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005.
A key without a counter takes over the smallest one, with its count as the possible error. So counts add up to
the number of keys added, a count is too high by its error at most, and a key that was added more often than
once in `capacity` times has a counter.

Counters are kept in buckets by count. Counts rise by one, so that adding a key moves it to the next bucket
and the smallest count is always known: every step takes constant time.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counted:
    """A key with its count, which is too high by `error` at most."""

    key: str
    count: int
    error: int


class SpaceSaving:
    """Counters for at most `capacity` keys."""

    __slots__ = ("_buckets", "_counts", "_errors", "_smallest", "capacity", "total")

    def __init__(self, capacity: int = 1000) -> None:
        if capacity < 1:
            raise ValueError("A sketch needs at least one counter.")
        self.capacity = capacity
        self.total = 0
        self._counts: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._buckets: dict[int, dict[str, None]] = {}
        self._smallest = 0

    @property
    def error(self) -> int:
        """How often a key without a counter may have been added, at most."""
        return self._smallest if len(self._counts) == self.capacity else 0

    def add(self, key: str) -> None:
        """Count a key once."""
        self.total += 1
        count = self._counts.get(key)
        if count is not None:
            self._leave(key, count)
        elif len(self._counts) < self.capacity:
            count = 0
        else:
            count = self._evict()
            self._errors[key] = count
        self._enter(key, count + 1)

    def top(self, limit: int) -> list[Counted]:
        """The keys with the highest counts, highest first; those of one count in alphabetical order."""
        ranked: list[Counted] = []
        for count in sorted(self._buckets, reverse=True):
            if len(ranked) >= limit:
                break
            ranked += [Counted(key, count, self._errors.get(key, 0)) for key in sorted(self._buckets[count])]
        return ranked[: max(limit, 0)]

    def _enter(self, key: str, count: int) -> None:
        self._counts[key] = count
        bucket = self._buckets.get(count)
        if bucket is None:
            bucket = self._buckets[count] = {}
        bucket[key] = None
        if count == 1:
            self._smallest = 1

    def _leave(self, key: str, count: int) -> None:
        bucket = self._buckets[count]
        del bucket[key]
        if not bucket:
            self._drop(count)

    def _drop(self, count: int) -> None:
        """Take away a bucket that is empty; the key that left it enters the next."""
        del self._buckets[count]
        if count == self._smallest:
            self._smallest = count + 1

    def _evict(self) -> int:
        """Free a counter of the smallest count, the one that has had it longest; returns the count."""
        count = self._smallest
        bucket = self._buckets[count]
        oldest = next(iter(bucket))
        del bucket[oldest], self._counts[oldest]
        self._errors.pop(oldest, None)
        if not bucket:
            self._drop(count)
        return count
