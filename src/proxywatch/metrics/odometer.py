"""A count that never falls, over a counter that starts again whenever its owner is made anew."""


class Odometer:
    """What a foreign counter has moved since we began to look; never decreases.

    The first value seen is the start, except when we looked before and the owner was not there: then all
    that it has counted happened under our eyes.

    Attributes:
        total: Moved so far.
    """

    __slots__ = ("_last", "_owner", "_seen", "total")

    def __init__(self) -> None:
        self.total = 0
        self._seen = False
        self._owner: int | None = None
        self._last = 0

    def absent(self) -> None:
        """There was nothing to read; whatever appears next, if it is another owner, counts from 0."""
        if not self._seen:
            self._seen = True
            self._last = 0

    def read(self, value: int, owner: int | None = None) -> None:
        """Take a reading.

        Args:
            value: The counter.
            owner: Tells whose it is, an interface's index for example; None when that cannot be told. A
                counter that fell, or whose owner changed, has started again from 0.
        """
        anew = value < self._last or (owner is not None and self._owner is not None and owner != self._owner)
        if self._seen:
            self.total += value if anew else value - self._last
        self._seen = True
        self._last = value
        if owner is not None:
            self._owner = owner
