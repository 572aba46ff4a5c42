"""The signals that a daemon obeys."""

import asyncio
import signal
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Signals:
    """Events that signals set.

    Attributes:
        stop: SIGTERM or SIGINT: end in order.
        reload: SIGHUP: read the settings again.
    """

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def install(cls) -> Self:
        """Handle them on the running event loop."""
        signals = cls()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, signals.stop.set)
        loop.add_signal_handler(signal.SIGINT, signals.stop.set)
        loop.add_signal_handler(signal.SIGHUP, signals.reload.set)
        return signals
