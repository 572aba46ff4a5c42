"""Ends a process that does not end by itself."""

import logging
import os
import threading
from typing import Self

log = logging.getLogger(__name__)


class Watchdog:
    """Once started, ends the process after a while; a context that cancels it.

    Args:
        seconds: How long an orderly end may take.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, _give_up)
        self._timer.daemon = True

    def start(self) -> None:
        """The orderly end begins."""
        self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _give_up() -> None:
    log.warning("did not stop in time, exiting now")
    os._exit(0)
