"""The file of decisions: a JSON document per line, as the API gives a decision, once nothing more becomes of it.

Whoever decides only puts the decision into a bounded queue; encoding is done later, a few at a time, and
writing in a thread. When the file has reached its size it is renamed to `FILE.1`, and a new one is begun.
"""

import asyncio
import logging
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from proxywatch.balancer.choosing.decision import Decision, document
from proxywatch.clock import Clock
from proxywatch.errors import ParseError, SourceError
from proxywatch.source import file

log = logging.getLogger(__name__)

_INTERVAL = 1.0
_MOST_WAITING = 10_000
_SLICE = 20  # decisions that are encoded in one turn of the loop; one of 12 candidates takes 50 µs
_LARGEST = 64 << 20
_LONGEST_LINE = 1 << 20
MOST_RECORDS = 200_000


class Journal:
    """Writes decisions.

    Attributes:
        lost: How many were not written: too many waited, or the file could not be written.
        fault: Why it cannot be written; empty while it can.
    """

    def __init__(self, path: str, clock: Clock, largest: int = _LARGEST) -> None:
        """Touch nothing yet.

        Args:
            path: Of the file.
            clock: Says when to write.
            largest: Bytes after which a new file is begun.
        """
        self.lost = 0
        self.fault = ""
        self._path = path
        self._clock = clock
        self._largest = largest
        self._waiting: deque[Decision] = deque()

    def add(self, decision: Decision) -> None:
        """Have a decision written; the oldest that waits is lost when too many do."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(decision)

    async def run(self) -> None:
        """Write what waits, every second; a task of the daemon."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + _INTERVAL)
            await self.write()

    async def write(self) -> None:
        """Write all that waits; a file that cannot be written is logged once."""
        lines: list[bytes] = []
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(_SLICE, len(self._waiting)))]
            lines += [msgspec.json.encode(document(decision)) for decision in some]
            await asyncio.sleep(0)
        if not lines:
            return
        try:
            await asyncio.to_thread(self._append, b"".join(line + b"\n" for line in lines))
        except OSError as error:
            self.lost += len(lines)
            reason = str(file.unreadable(self._path, error))
            if not self.fault:
                log.warning("journal cannot be written", extra={"reason": reason})
            self.fault = reason
        else:
            self.fault = ""

    def _append(self, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "not a regular file", self._path)
            whole = memoryview(content)
            while whole:
                whole = whole[os.write(fd, whole) :]
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        if size >= self._largest:
            os.replace(self._path, f"{self._path}.1")  # noqa: PTH105 - in a thread, on a text


def read(path: str) -> Iterator[dict[str, Any]]:
    """Yield the decisions of a file.

    Raises:
        SourceError: It cannot be read, or holds more than 200,000 decisions.
        ParseError: A line is no decision, with its number. A last line without an end is left out: it is
            being written.
    """
    try:
        with open(path, "rb") as source:  # noqa: PTH123 - streamed
            for number in range(1, MOST_RECORDS + 2):
                line = source.readline(_LONGEST_LINE + 1)
                if not line.endswith(b"\n"):
                    if len(line) > _LONGEST_LINE:
                        raise ParseError(f"line {number} is longer than {_LONGEST_LINE} bytes")
                    return
                if number > MOST_RECORDS:
                    raise SourceError(f"{path} holds more than {MOST_RECORDS:,} decisions", temporary=False)
                yield _record(line, number)
    except OSError as error:
        raise file.unreadable(path, error) from error


def _record(line: bytes, number: int) -> dict[str, Any]:
    record = None
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):
        record = msgspec.json.decode(line)
    try:
        attempts = record["attempts"]  # type: ignore[index]
        whole = isinstance(attempts, list) and all(_is_attempt(attempt) for attempt in attempts)
        if whole and isinstance(record["id"], str) and isinstance(record["candidates"], list):  # type: ignore[index]
            return record  # type: ignore[return-value]
    except (KeyError, TypeError):
        pass
    raise ParseError(f"line {number} is no decision")


def _is_attempt(attempt: dict[str, Any]) -> bool:
    return isinstance(attempt["now"], int | float) and (
        attempt["node"] is None or isinstance(attempt["node"], str)
    )
