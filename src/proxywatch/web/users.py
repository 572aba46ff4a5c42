"""Basic authentication against bcrypt hashes, at a bounded cost.

A hash takes some 50 ms of a core by design. So verdicts are remembered, under a digest of what was sent, with
a key that never leaves this process; and one comparison is made at a time, in a thread, after a short queue.
"""

import asyncio
import base64
import binascii
import hashlib
import os
from collections.abc import Mapping

_REMEMBERED = 100
_QUEUE = 16
_LONGEST_PASSWORD = 72


class BusyError(Exception):
    """More unknown passwords at once than are worth comparing."""


class Users:
    """Names and the hashes of their passwords."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = {name.encode(): hashed.encode() for name, hashed in hashes.items()}
        self._key = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._wrong: dict[bytes, None] = {}
        self._waiting = 0
        self._one = asyncio.Lock()

    def known(self, credentials: bytes) -> bool | None:
        """The verdict on an Authorization header; None when it takes a comparison."""
        digest = self._digest(credentials)
        if digest in self._right:
            return True
        if digest in self._wrong or _decode(credentials) is None:
            return False
        return None

    async def check(self, credentials: bytes) -> bool:
        """Compare.

        Raises:
            BusyError: Too many wait for a comparison.
        """
        if self._waiting >= _QUEUE:
            raise BusyError
        self._waiting += 1
        try:
            async with self._one:
                verdict = self.known(credentials)
                if verdict is None:
                    verdict = await asyncio.to_thread(self._compare, credentials)
                    self._remember(credentials, verdict=verdict)
        finally:
            self._waiting -= 1
        return verdict

    def _compare(self, credentials: bytes) -> bool:
        import bcrypt  # noqa: PLC0415 - half a megabyte that only those with users pay

        name, password = _decode(credentials) or (b"", b"")
        hashed = self._hashes.get(name)
        # An unknown name costs the same as a wrong password, so that time tells nothing.
        against = hashed or next(iter(self._hashes.values()))
        return bcrypt.checkpw(password[:_LONGEST_PASSWORD], against) and hashed is not None

    def _remember(self, credentials: bytes, *, verdict: bool) -> None:
        memory = self._right if verdict else self._wrong
        if len(memory) >= _REMEMBERED:
            del memory[next(iter(memory))]
        memory[self._digest(credentials)] = None

    def _digest(self, credentials: bytes) -> bytes:
        return hashlib.blake2b(credentials, key=self._key, digest_size=16).digest()


def _decode(credentials: bytes) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = credentials.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return (name, password) if colon and b"\0" not in password else None
