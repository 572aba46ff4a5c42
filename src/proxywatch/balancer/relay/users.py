"""Who may use the relay, and how much of it.

A bcrypt comparison takes a fifth of a second by design, so it is made once per pair: pairs that were right
are remembered as digests under a key that never leaves this process. Comparisons run in two threads of their
own, after a short queue, and an address that keeps failing waits. A pair that is remembered never queues, so
guessing cannot keep out those who know.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from proxywatch.errors import ConfigError, Fault, SourceError
from proxywatch.parse import user_file
from proxywatch.parse.user_file import Entry
from proxywatch.source import file

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
_THREADS = 2
_QUEUE = 32
_LONGEST_PASSWORD = 72
_LARGEST_FILE = 32 << 20
_FAILURES, _PERIOD, _ADDRESSES = 10, 60.0, 10_000
_HIGH = 64 << 10


class BusyError(Exception):
    """More unknown pairs at once than are worth comparing, or too many failures of this address."""


class User:
    """One user's account.

    Attributes:
        entry: What the file says.
        open: Connections that are open or being opened.
        bytes_in: From this user's clients, all time.
        bytes_out: To them, all time.
        connections: Opened, all time.
        day: Bytes of the day that is named, in UTC.
        month: Bytes of the month that is named.
    """

    __slots__ = (
        "_filled", "_tokens", "_waiting", "bytes_in", "bytes_out", "connections", "day", "entry", "month",
        "open",
    )  # fmt: skip

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.open = self.connections = self.bytes_in = self.bytes_out = 0
        self.day: tuple[str, int] = ("", 0)
        self.month: tuple[str, int] = ("", 0)
        self._tokens = float(entry.bytes_per_second)
        self._filled = 0.0
        self._waiting: list[tuple[Any, Any]] = []

    @property
    def countries(self) -> frozenset[str]:
        """The exits that the user may have; empty for all."""
        return self.entry.countries

    def charge(self, now: float, bytes_in: int, bytes_out: int) -> None:
        """Account for bytes that passed; `now` is Unix time."""
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        today = time.strftime("%Y-%m-%d", time.gmtime(now))
        count = bytes_in + bytes_out
        self.day = (today, (self.day[1] if self.day[0] == today else 0) + count)
        self.month = (today[:7], (self.month[1] if self.month[0] == today[:7] else 0) + count)

    def over(self, now: float) -> str:
        """Which limit of bytes is reached; empty for none."""
        today = time.strftime("%Y-%m-%d", time.gmtime(now))
        entry = self.entry
        if entry.bytes_per_day and self.day[0] == today and self.day[1] >= entry.bytes_per_day:
            return "bytes_per_day"
        if entry.bytes_per_month and self.month[0] == today[:7] and self.month[1] >= entry.bytes_per_month:
            return "bytes_per_month"
        return ""

    def refuses(self, now: float) -> str:
        """Which limit forbids one more connection; empty for none."""
        if self.entry.max_connections and self.open >= self.entry.max_connections:
            return "max_connections"
        return self.over(now)

    def spend(self, loop: asyncio.AbstractEventLoop, count: int, source: Any, sink: Any) -> None:  # noqa: ANN401
        """Take tokens for bytes that came; while there are none, their source is not read.

        The bucket holds what a second brings; one timer per user refills it.
        """
        rate = self.entry.bytes_per_second
        if not rate:
            return
        now = loop.time()
        self._tokens = min(float(rate), self._tokens + (now - self._filled) * rate) - count
        self._filled = now
        if self._tokens < 0:
            source.pause_reading()
            self._waiting.append((source, sink))
            if len(self._waiting) == 1:
                loop.call_later(-self._tokens / rate, self._go_on)

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for source, sink in waiting:
            # A sink that is full resumes its source itself, once it is not.
            if not source.is_closing() and sink.get_write_buffer_size() <= _HIGH:
                source.resume_reading()


class Users:
    """The users of one file, reloaded when it changes."""

    def __init__(self, path: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Raises:
            ConfigError: Everything that is wrong with it.
        """
        self._path = path
        self._monotonic = monotonic
        self.accounts: dict[str, User] = {}
        self._key = os.urandom(32)
        self._right: dict[bytes, str] = {}
        self._comparing: dict[bytes, asyncio.Future[bool]] = {}
        self._failures: dict[str, list[float]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, "bcrypt")
        self._stamp = _stamp(path)
        self._take(self._read())

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def reload(self) -> list[str]:
        """Read the file again if it has changed; the users who are gone.

        A file that is absent, empty or wrong changes nothing: nobody is let in or locked out by an accident.
        """
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return []
        self._stamp = stamp
        try:
            entries = self._read()
        except ConfigError as error:
            log.warning("users are kept as they were: %s", error)
            return []
        gone = [name for name in self.accounts if name not in entries]
        self._take(entries)
        log.info("users read again: %d, of whom %d are gone", len(entries), len(gone))
        return gone

    def _read(self) -> dict[str, Entry]:
        try:
            text = file.read(self._path, _LARGEST_FILE).decode()
        except SourceError as error:
            raise ConfigError(Fault("relay.users_file", str(error))) from error
        except UnicodeDecodeError:
            raise ConfigError(Fault("relay.users_file", "not UTF-8")) from None
        return user_file.parse(text, self._path)

    def _take(self, entries: Mapping[str, Entry]) -> None:
        for name in [name for name in self.accounts if name not in entries]:
            del self.accounts[name]
        for name, entry in entries.items():
            if name in self.accounts:
                self.accounts[name].entry = entry
            else:
                self.accounts[name] = User(entry)
        # A digest covers the hash, so those of changed lines can never match again; free them.
        self._right.clear()
        self._failures.clear()

    def known(self, name: str, password: bytes) -> User | None:
        """The user, if the pair was right before; None when it takes a comparison."""
        user = self.accounts.get(name)
        if user is not None and self._digest(name, user.entry.hashed, password) in self._right:
            return user
        return None

    async def check(self, name: str, password: bytes, address: str) -> User | None:
        """Compare; None for a wrong pair.

        Raises:
            BusyError: The queue is full, or this address has failed too often.
        """
        user = self.accounts.get(name)
        # An unknown name costs what a known one does, so that time tells nothing.
        hashed = user.entry.hashed if user else next(iter(self.accounts.values())).entry.hashed
        digest = self._digest(name, hashed, password)
        if digest in self._comparing:
            right = await asyncio.shield(self._comparing[digest])
        else:
            if len(self._comparing) >= _QUEUE or self._fails_too_often(address):
                raise BusyError
            right = await self._compare(digest, password, hashed)
        now = self.accounts.get(name)
        if not right or user is None or now is None or now.entry.hashed != hashed:
            self._note_failure(address)
            return None
        if len(self._right) >= _REMEMBERED:
            del self._right[next(iter(self._right))]
        self._right[digest] = name
        return now

    async def _compare(self, digest: bytes, password: bytes, hashed: str) -> bool:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, _matches, password, hashed)
        self._comparing[digest] = future
        try:
            return await asyncio.shield(future)
        finally:
            del self._comparing[digest]

    def _fails_too_often(self, address: str) -> bool:
        since = self._monotonic() - _PERIOD
        recent = [at for at in self._failures.get(address, ()) if at > since]
        return len(recent) >= _FAILURES

    def _note_failure(self, address: str) -> None:
        failures = self._failures.pop(address, [])[1 - _FAILURES :]
        if len(self._failures) >= _ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures[address] = [*failures, self._monotonic()]

    def _digest(self, name: str, hashed: str, password: bytes) -> bytes:
        """Of length-prefixed parts, so that no two pairs share one."""
        digest = hashlib.blake2b(key=self._key, digest_size=16)
        for part in (name.encode(), hashed.encode(), password):
            digest.update(len(part).to_bytes(4) + part)
        return digest.digest()


def _matches(password: bytes, hashed: str) -> bool:
    import bcrypt  # noqa: PLC0415 - for those with users alone

    if b"\0" in password:
        return False
    return bcrypt.checkpw(password[:_LONGEST_PASSWORD], hashed.encode())


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)  # noqa: PTH116 - as everywhere for small reads
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
