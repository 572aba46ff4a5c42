"""Watches the settings file: a reload without a signal, where nobody can send one.

Kubernetes renews a mounted ConfigMap by swapping the symbolic link that its files are reached by, so the
file is looked at by its path, links followed, every few seconds. inotify would have to watch every link on
the way, and a look costs one system call.
"""

import os
from collections.abc import Callable

from proxywatch.clock import Clock

_INTERVAL = 5.0  # seconds; the kubelet itself takes a minute or so
_Identity = tuple[int, int, int, int]


class Watch:
    """Calls back once after a file has changed, when it has stayed the same for one interval.

    A file that is missing for a while has not changed: the settings in force stay in force.

    Args:
        path: The file.
        changed: Called after a change.
        interval: Seconds from one look to the next.
    """

    def __init__(
        self, path: str, changed: Callable[[], None], clock: Clock, interval: float = _INTERVAL
    ) -> None:
        self._path = path
        self._changed = changed
        self._clock = clock
        self._interval = interval
        self._known = self._last = _identity(path)

    async def run(self) -> None:
        """Look again and again; a task of the daemon."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + self._interval)
            self._look()

    def _look(self) -> None:
        seen = _identity(self._path)
        settled = seen == self._last
        self._last = seen
        if seen is not None and settled and seen != self._known:
            self._known = seen
            self._changed()


def _identity(path: str) -> _Identity | None:
    """What changes with a file's content; None when there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - links are followed
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
