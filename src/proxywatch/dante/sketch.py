"""The heaviest keys of an endless stream in bounded memory (the Misra-Gries summary, pruned in batches).

At most `2 * size` keys are held. When they are exceeded, the weight of the key of rank `size + 1` is taken
off every key and those without any left go. So no key whose weight is more than 1/size of the total is ever
missing, and each weight is too low by at most `error`, which is 0 until the first pruning. A pruning costs
O(size log size) once in `size` new keys.
"""

from heapq import nlargest


class TopKeys:
    """Weights by key."""

    __slots__ = ("_weights", "error", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.error = 0
        self._weights: dict[bytes, int] = {}

    def add(self, key: bytes, weight: int) -> None:
        """Add to a key's weight; a weight of 0 leaves no trace."""
        weights = self._weights
        if key in weights:
            weights[key] += weight
        elif weight:
            weights[key] = weight
            if len(weights) > 2 * self.size:
                self._prune()

    def top(self, count: int) -> list[tuple[bytes, int]]:
        """The heaviest keys, heaviest first, each with its weight (too low by `error` at most)."""
        return nlargest(count, self._weights.items(), key=lambda item: item[1])

    def _prune(self) -> None:
        taken = nlargest(self.size + 1, self._weights.values())[-1]
        self.error += taken
        self._weights = {key: weight - taken for key, weight in self._weights.items() if weight > taken}

    def save(self) -> tuple[int, dict[bytes, int]]:
        """(error, weights), for `restore`."""
        return self.error, self._weights

    def restore(self, saved: tuple[int, dict[bytes, int]]) -> None:
        """Go on from what `save` gave."""
        self.error, self._weights = saved
