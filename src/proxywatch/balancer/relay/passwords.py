"""Passwords of nodes, from the files that hold them, read again when they are older than a few seconds."""

from collections.abc import Callable

from proxywatch.source import file

_FRESH = 5.0
_LARGEST = 4096


class Passwords:
    """The files' contents, kept for a few seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._read: dict[str, tuple[float, bytes]] = {}

    def read(self, path: str) -> bytes:
        """The password in a file, without the line's end; empty for no file.

        Raises:
            SourceError: It cannot be read.
        """
        if not path:
            return b""
        now = self._monotonic()
        kept = self._read.get(path)
        if kept is None or now - kept[0] > _FRESH:
            kept = (now, file.read(path, _LARGEST).rstrip(b"\r\n"))
            self._read[path] = kept
        return kept[1]
