"""Whether two accounts of the same connections agree: the kernel's and that of a proxy's log.

Both count the connections to the proxy that have ended, and what these moved. The kernel's bytes have the
handshake with the proxy in them, and it may report an end some moments before or after it is logged. So they
are compared over some minutes, and a difference counts when it stays.
"""

from collections import deque
from typing import NamedTuple

_HANDSHAKE = 1024  # bytes of one connection
_TOLERANCE = 0.05
_FEW = 5
_WINDOW = 300.0
_PATIENCE = 120.0


class Ended(NamedTuple):
    """Connections to the proxy that have ended since some moment.

    Attributes:
        connections: How many.
        payload: Bytes that they moved, both ways; None when that cannot be compared.
    """

    connections: int
    payload: int | None


class _Sample(NamedTuple):
    at: float
    kernel: Ended
    log: Ended


class Comparison:
    """Compares what two accounts count over the last minutes.

    Attributes:
        differing: By figure, `connections` and `bytes`, whether it has differed for two minutes; empty where
            there is nothing to compare.
    """

    def __init__(self) -> None:
        self.differing: dict[str, bool] = {}
        self._samples: deque[_Sample] = deque()
        self._since: dict[str, float] = {}

    def observe(self, now: float, kernel: Ended | None, log: Ended | None) -> None:
        """Take both counts.

        Args:
            now: Monotonic seconds.
            kernel: None when the kernel's is not known.
            log: None when the log does not tell.
        """
        if kernel is None or log is None or self._is_anew(kernel, log):
            self._samples.clear()
            self._since = {}
        if kernel is None or log is None:
            self.differing = {}
            return
        self._samples.append(_Sample(now, kernel, log))
        while now - self._samples[0].at > _WINDOW:
            self._samples.popleft()
        verdicts = _differ(self._samples[0], self._samples[-1])
        self._since = {name: self._since.get(name, now) for name, differs in verdicts.items() if differs}
        self.differing = {name: now - self._since.get(name, now) >= _PATIENCE for name in verdicts}

    def _is_anew(self, kernel: Ended, log: Ended) -> bool:
        """Whether one of them has started again."""
        if not self._samples:
            return False
        last = self._samples[-1]
        return kernel.connections < last.kernel.connections or log.connections < last.log.connections


def _differ(first: _Sample, last: _Sample) -> dict[str, bool]:
    kernel = last.kernel.connections - first.kernel.connections
    log = last.log.connections - first.log.connections
    most = max(kernel, log)
    verdicts = {"connections": abs(kernel - log) > max(_FEW, _TOLERANCE * most)}
    payloads = [it.payload for it in (first.kernel, first.log, last.kernel, last.log)]
    if None not in payloads:
        kernel_before, log_before, kernel_now, log_now = (payload or 0 for payload in payloads)
        more = (kernel_now - kernel_before) - (log_now - log_before)
        margin = _HANDSHAKE * (most + _FEW) + _TOLERANCE * (kernel_now - kernel_before)
        verdicts["bytes"] = abs(more) > margin
    return verdicts
