"""The last probes, and failures for longer: what a person wants to see after something happened."""

from collections import deque

import msgspec

from proxywatch.probe.outcome import Transfer

_PROBES = 100
_FAILURES = 100


class Snapshot(msgspec.Struct, frozen=True):
    """What `/api/v1/history` shows, newest first.

    Attributes:
        probes: The last ones of every kind.
        failures: The last failed ones, which outlive the successes around them.
    """

    probes: tuple[Transfer, ...] = ()
    failures: tuple[Transfer, ...] = ()


class History:
    """A bounded memory of probes.

    Attributes:
        succeeded: How many have succeeded, also of those that are not remembered any more.
    """

    def __init__(self, probes: int = _PROBES, failures: int = _FAILURES) -> None:
        """Start empty.

        Args:
            probes: How many to remember.
            failures: How many failed ones to remember, beside.
        """
        self.succeeded = 0
        self._probes: deque[Transfer] = deque(maxlen=probes)
        self._failures: deque[Transfer] = deque(maxlen=failures)

    def record(self, transfer: Transfer) -> None:
        """Remember one."""
        self._probes.appendleft(transfer)
        self.succeeded += transfer.ok
        if not transfer.ok:
            self._failures.appendleft(transfer)

    def snapshot(self) -> Snapshot:
        """As it is now."""
        return Snapshot(tuple(self._probes), tuple(self._failures))
