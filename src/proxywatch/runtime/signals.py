"""What ends a daemon or makes it reload: signals, and a failure that only a restart can cure."""

import asyncio
import signal
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Signals:
    """Events that signals set.

    Attributes:
        stop: SIGTERM, SIGINT or a failure: end in order.
        reload: SIGHUP: read the settings again.
        failure: Why the daemon ends by itself; empty when it does not.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""

    def fail(self, reason: str) -> None:
        """End in order, with a status that a restart policy acts on."""
        self.failure = self.failure or reason
        self.stop.set()

    @classmethod
    def install(cls) -> Self:
        """Handle them on the running event loop."""
        signals = cls()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, signals.stop.set)
        loop.add_signal_handler(signal.SIGINT, signals.stop.set)
        loop.add_signal_handler(signal.SIGHUP, signals.reload.set)
        return signals
