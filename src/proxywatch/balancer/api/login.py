"""Who calls the API: users with passwords, programs with tokens; both from files that are read again when they change.

A token file has lines `name:token[:role=read|operate]`. Tokens are kept as digests under a key of this process, so that
looking one up takes the same time whatever was sent. A user or token without a role may read.
"""

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from typing import cast

from proxywatch.balancer.api.guard import BusyError, Caller, Role, basic
from proxywatch.balancer.relay.users import BusyError as UsersBusyError
from proxywatch.balancer.relay.users import Users
from proxywatch.errors import ConfigError, Fault, SourceError
from proxywatch.source import file

log = logging.getLogger(__name__)

_LARGEST = 1 << 20
_LINE = re.compile(r"([^\s:]{1,64}):([\x21-\x39\x3b-\x7e]{16,256})(?::role=(read|operate))?")


class Logins:
    """Checks credentials."""

    def __init__(self, users_file: str, tokens_file: str) -> None:
        """Read the files; an empty name is no file.

        Raises:
            ConfigError: With everything that is wrong with them.
        """
        self._users = Users(users_file) if users_file else None
        self._tokens_file = tokens_file
        self._key = os.urandom(32)
        self._stamp = _stamp(tokens_file)
        self._tokens: Mapping[bytes, Caller] = self._read_tokens() if tokens_file else {}

    async def check(self, scheme: str, credentials: str, address: str) -> Caller | None:
        """Who it is; None for nobody.

        Raises:
            BusyError: Too many comparisons wait, or this address has failed too often.
        """
        if scheme == "bearer":
            return self._tokens.get(self._digest(credentials))
        pair = basic(credentials) if scheme == "basic" else None
        if pair is None or self._users is None:
            return None
        name, password = pair[0], pair[1].encode()
        user = self._users.known(name, password)
        if user is None:
            try:
                user = await self._users.check(name, password, address)
            except UsersBusyError:
                raise BusyError from None
        return Caller(name, cast("Role", user.entry.role or "read")) if user is not None else None

    def reload(self) -> None:
        """Read files that have changed; a file that is missing, empty or wrong changes nothing."""
        if self._users is not None:
            self._users.reload()
        stamp = _stamp(self._tokens_file)
        if self._tokens_file and stamp != self._stamp:
            self._stamp = stamp
            try:
                self._tokens = self._read_tokens()
            except ConfigError as error:
                log.warning("tokens are kept as they were", extra={"faults": str(error)})

    def close(self) -> None:
        """End the threads that compare."""
        if self._users is not None:
            self._users.close()

    def _read_tokens(self) -> dict[bytes, Caller]:
        try:
            text = file.read(self._tokens_file, _LARGEST).decode()
        except (SourceError, UnicodeDecodeError):
            raise ConfigError(Fault("api.tokens_file", "cannot be read, or is not UTF-8")) from None
        tokens: dict[bytes, Caller] = {}
        faults = []
        names = set()
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                message = "expected name:token[:role=read|operate], the token of 16 to 256 characters"
                faults.append(Fault(f"{self._tokens_file}:{number}", message))
                continue
            digest = self._digest(match[2])
            if digest in tokens or match[1] in names:
                faults.append(Fault(f"{self._tokens_file}:{number}", "a name or token that is there already"))
            names.add(match[1])
            tokens[digest] = Caller(match[1], cast("Role", match[3] or "read"))
        if not tokens and not faults:
            faults.append(Fault("api.tokens_file", "no tokens in it"))
        if faults:
            raise ConfigError(*faults)
        return tokens

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(), key=self._key, digest_size=32).digest()


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116 - one call
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
