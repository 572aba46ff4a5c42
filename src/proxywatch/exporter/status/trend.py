"""A value over the last hours, in a bounded number of points.

Points begin fine, so that there is something to see a minute after the start. When there are too many
of them, neighbours are joined and each stands for twice the time, until a point is as coarse as allowed;
then the oldest go.
"""

_POINTS = 180
_FINEST = 5.0
_COARSEST = 120.0


class Trend:
    """Means per step of time; None where nothing was measured.

    Attributes:
        step: The seconds that a point stands for.
        values: Oldest first; the last one is still growing.
    """

    def __init__(self, points: int = _POINTS, finest: float = _FINEST, coarsest: float = _COARSEST) -> None:
        """Nothing yet.

        Args:
            points: The most that are kept.
            finest: Seconds per point at first.
            coarsest: The most seconds per point; a power of two times the finest.
        """
        self.step = finest
        self.values: list[float | None] = []
        self._points = points
        self._coarsest = coarsest
        self._bucket = 0
        self._count = 0

    def add(self, now: float, value: float | None) -> None:
        """Take in a value, or None when there is none, at `now` seconds of a clock that never steps."""
        bucket = int(now // self.step)
        if not self.values:
            self._bucket = bucket
            self.values.append(None)
        gap = min(bucket - self._bucket, self._points)
        if gap > 0:
            self.values.extend([None] * gap)
            self._bucket = bucket
            self._count = 0
        self._take(value)
        while len(self.values) > self._points:
            self._shrink()

    def _take(self, value: float | None) -> None:
        if value is None:
            return
        before = self.values[-1]
        self._count += 1
        self.values[-1] = value if before is None else before + (value - before) / self._count

    def _shrink(self) -> None:
        if self.step * 2 > self._coarsest:
            del self.values[: len(self.values) - self._points]
            return
        first = self._bucket - len(self.values) + 1
        padded = [None, *self.values] if first % 2 else self.values
        self.values = [_mean(padded[index : index + 2]) for index in range(0, len(padded), 2)]
        self.step *= 2
        self._bucket //= 2
        self._count = 1


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
