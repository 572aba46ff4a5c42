"""The connections that our own probes make to the proxy, so that the log's reader knows them from clients'.

A probe notes its endpoint before the first byte leaves and when it has closed, so whoever reads of that
endpoint in a log, however late, finds it here. Ports are used again by clients: the time decides.

What is noted can be kept in a file, a line for each begin and end, so that the probes of the last seconds are
known after a kill too. A line is one write without a flush: a process that is killed loses none.
"""

import os
from collections import deque
from contextlib import suppress
from itertools import islice

from proxywatch.errors import SourceError
from proxywatch.source import checkpoint, file

_CAPACITY = 2048  # half a megabyte; seventeen hours of two probes a minute
_SLACK = 2.0
_LATE = 60.0
"""A proxy that hangs accepts a probe long after it was given up; TIME_WAIT keeps its port for a minute."""
_MAPPED = b"::ffff:"
_MOST_ADDRESSES = 16
_LARGEST = 4 << 20
_FEW = 32
_SECOND = 1.0
_OPEN = float("inf")


class OwnTraffic:
    """Endpoints of our own connections with the time that they lived; bounded, oldest out."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._lives: dict[bytes, list[list[float]]] = {}
        self._order: deque[bytes] = deque()
        self._begins: tuple[bytes, ...] = ()
        self._path = ""
        self._fd: int | None = None
        self._noted = 0

    def opened(self, address: str, port: int, at: float) -> None:
        """Note a connection of ours.

        Args:
            address: Our side's, as inet_ntop writes it.
            port: Our side's.
            at: Unix time in seconds, before the first byte leaves.
        """
        endpoint = _endpoint(address, port)
        self._open(endpoint, at)
        self._note(b"+", endpoint, at)

    def closed(self, address: str, port: int, at: float) -> None:
        """Note that our last connection from there is closed, at Unix time `at`."""
        endpoint = _endpoint(address, port)
        self._close(endpoint, at)
        self._note(b"-", endpoint, at)

    def includes(self, endpoint: bytes, at: float) -> bool:
        """Whether a connection from `ADDRESS.PORT` was ours at Unix time `at`, or until a minute before."""
        lives = self._lives.get(endpoint.removeprefix(_MAPPED))
        if lives is None:
            return False
        return any(start - _SLACK <= at <= end + _LATE for start, end in lives)

    def running(self, at: float) -> bool:
        """Whether one of our last few connections was open at Unix time `at`, or until a second before."""
        last = islice(reversed(self._order), _FEW)
        return any(self._lives[endpoint][-1][1] >= at - _SECOND for endpoint in last)

    def begins(self) -> tuple[bytes, ...]:
        """How endpoints of ours begin, `ADDRESS.`: one that begins otherwise need not be looked up."""
        return self._begins

    def keep(self, path: str, now: float) -> None:
        """Add what an earlier process noted in a file, and note everything there from now on.

        Args:
            path: The file; made if it is not there.
            now: Unix time in seconds, when the connections of that process are closed at the latest.

        Raises:
            SourceError: It cannot be read or written; then nothing is kept.
        """
        self._release()
        content = checkpoint.read_plain(path, _LARGEST) or b""
        ours, self._lives, self._order = self._lives, {}, deque()
        self._load(content, now)
        for endpoint, lives in ours.items():
            for life in lives:
                self._add(endpoint, life)
        self._path = path
        self._rewrite()

    def _add(self, endpoint: bytes, life: list[float]) -> None:
        known = next((it for it in self._lives.get(endpoint, ()) if it[0] == life[0]), None)
        if known is None:
            self._open(endpoint, life[0])
            known = self._lives[endpoint][-1]
        known[1] = life[1]

    def _load(self, content: bytes, now: float) -> None:
        for line in content.split(b"\n")[:-1]:  # the last one was cut, if there is one
            with suppress(ValueError):
                sign, endpoint, at = line.split(b" ")
                if sign == b"+":
                    self._open(endpoint, float(at))
                elif sign == b"-":
                    self._close(endpoint, float(at))
        for lives in self._lives.values():
            for life in lives:
                life[1] = min(life[1], max(now, life[0]))

    def _open(self, endpoint: bytes, at: float) -> None:
        self._lives.setdefault(endpoint, []).append([at, _OPEN])
        self._order.append(endpoint)
        if not endpoint.startswith(self._begins):
            begin = endpoint[: endpoint.rfind(b".") + 1]
            self._begins += (begin, _MAPPED + begin)
            if len(self._begins) > 2 * _MOST_ADDRESSES:
                self._begins = (b"",)
        if len(self._order) > self._capacity:
            oldest = self._order.popleft()
            lives = self._lives[oldest]
            del lives[0]
            if not lives:
                del self._lives[oldest]

    def _close(self, endpoint: bytes, at: float) -> None:
        lives = self._lives.get(endpoint)
        if lives:
            lives[-1][1] = max(at, lives[-1][0])  # the clock may have been set back meanwhile

    def _note(self, sign: bytes, endpoint: bytes, at: float) -> None:
        if self._fd is None:
            return
        with suppress(OSError):  # a full disk; the reader of the log says so when it writes its checkpoint
            os.write(self._fd, _line(sign, endpoint, at))
        self._noted += 1
        if self._noted > 4 * self._capacity:
            with suppress(SourceError):
                self._rewrite()

    def _rewrite(self) -> None:
        """Write what is known to the file anew, so that it does not grow for ever."""
        self._release()
        lines = []
        for endpoint, lives in self._lives.items():
            for start, end in lives:
                lines.append(_line(b"+", endpoint, start))
                if end < _OPEN:
                    lines.append(_line(b"-", endpoint, end))
        checkpoint.replace(self._path, b"".join(lines))
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise file.unreadable(self._path, error) from error
        self._noted = 0

    def _release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _endpoint(address: str, port: int) -> bytes:
    return f"{address}.{port}".encode().removeprefix(_MAPPED)


def _line(sign: bytes, endpoint: bytes, at: float) -> bytes:
    return b"%b %b %b\n" % (sign, endpoint, repr(at).encode())
