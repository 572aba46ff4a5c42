"""Who may come in and how: the web configuration file in force, and its successor when it changes."""

import logging
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from proxywatch.errors import ConfigError, Fault, ParseError
from proxywatch.net.bucket import Bucket
from proxywatch.quantity import Duration
from proxywatch.web import tls_context, web_config
from proxywatch.web.message import HttpRequest, Response, refuse
from proxywatch.web.server import Answer
from proxywatch.web.users import BusyError, Users
from proxywatch.web.web_config import Loaded, RateLimit, WebConfig

log = logging.getLogger(__name__)

_UNAUTHORIZED = refuse(401, "who are you?", www_authenticate='Basic realm="proxywatch", charset="UTF-8"')
_BUSY = refuse(503, "too many passwords to compare", retry_after="1")
_LOST = "lacks {}, which is in force; to do without, write it empty, such as `basic_auth_users: {{}}`"
_TOO_MANY = refuse(429, "more requests than `rate_limit` allows", retry_after="1")


@dataclass(frozen=True, slots=True)
class Terms:
    """A web configuration file, ready for use.

    Attributes:
        context: For TLS; None without.
        names: Of which a client's certificate must carry one; empty for any.
        headers: Of every response.
        users: Empty when everybody may come in.
        bucket: The rate limit.
    """

    context: ssl.SSLContext | None
    names: frozenset[str]
    headers: bytes
    users: Users | None
    bucket: Bucket | None


class Guard:
    """Holds the terms of a file, and reads it again when it or a certificate that it names has changed."""

    def __init__(self, path: str, now: Callable[[], float]) -> None:
        """Read the file.

        Args:
            path: Of the web configuration file.
            now: Seconds of a clock that never steps.

        Raises:
            ConfigError: It cannot be used.
        """
        self._path = path
        self._now = now
        self._files = [path]
        self._seen: list[object] = []
        self._loaded: Loaded | None = None
        self.terms = self._read()

    def refresh(self) -> None:
        """Read it again if it has changed; whatever is wrong with it is logged, and the terms stay."""
        if self._signature() == self._seen:
            return
        try:
            self.terms = self._read()
        except ConfigError as error:
            log.warning("web configuration not taken; the terms in force stay", extra={"reason": str(error)})
        except Exception as error:  # noqa: BLE001 - logged without its text, in which there may be a secret
            reason = type(error).__name__
            log.warning("web configuration not taken; the terms in force stay", extra={"reason": reason})
        else:
            log.info("web configuration read again", extra={"path": self._path})

    def _read(self) -> Terms:
        self._files = [self._path]
        self._seen = self._signature()
        loaded = web_config.load(self._path)
        self._files += _files(loaded.config, self._path)
        self._seen = self._signature()
        if self._loaded is not None and (lost := web_config.lost(self._loaded, loaded)):
            raise ConfigError(Fault(self._path, _LOST.format(", ".join(lost))))
        terms = _terms(loaded.config, self._path, self._now)
        self._loaded = loaded
        return terms

    def _signature(self) -> list[object]:
        return [_stat(path) for path in self._files]

    def admit(self, request: HttpRequest, serve: Callable[[HttpRequest], Answer]) -> Answer:
        """Serve the request if its sender may come in."""
        terms = self.terms
        if terms.bucket is not None and not terms.bucket.take():
            return _TOO_MANY
        if terms.users is None:
            return serve(request)
        credentials = request.headers.get(b"authorization", b"")
        known = terms.users.known(credentials)
        if known is None:
            return _check(terms.users, credentials, request, serve)
        return serve(request) if known else _UNAUTHORIZED


async def _check(
    users: Users, credentials: bytes, request: HttpRequest, serve: Callable[[HttpRequest], Answer]
) -> Response:
    try:
        admitted = await users.check(credentials)
    except BusyError:
        return _BUSY
    if not admitted:
        return _UNAUTHORIZED
    answer = serve(request)
    return answer if isinstance(answer, Response) else await answer


def _terms(config: WebConfig, path: str, now: Callable[[], float]) -> Terms:
    tls = config.tls_server_config
    users = config.basic_auth_users
    if users:
        _require_bcrypt(path)
    try:
        headers = config.http_server_config.headers.lines()
        bucket = _bucket(config.rate_limit, now)
    except (ValueError, ParseError) as error:
        raise ConfigError(Fault(path, str(error))) from error
    return Terms(
        context=tls_context.build(tls, path, http2=config.http_server_config.speaks_http2) if tls else None,
        names=frozenset(tls.client_allowed_sans if tls else ()),
        headers=headers,
        users=Users(users) if users else None,
        bucket=bucket,
    )


def _bucket(limit: RateLimit, now: Callable[[], float]) -> Bucket | None:
    interval = Duration.parse(limit.interval) if limit.interval.strip("0") else 0.0
    return Bucket(interval, limit.burst, now) if interval else None


def _require_bcrypt(path: str) -> None:
    try:
        import bcrypt  # noqa: F401, PLC0415 - half a megabyte that only those with users pay
    except ImportError as error:
        raise ConfigError(Fault(f"{path} basic_auth_users", "needs the Python package bcrypt")) from error


def _files(config: WebConfig, path: str) -> list[str]:
    tls = config.tls_server_config
    names = (tls.cert_file, tls.key_file, tls.client_ca_file) if tls else ()
    return [tls_context.beside(path, name) for name in names if name]


def _stat(path: str) -> object:
    try:
        found = os.stat(path)  # noqa: PTH116 - pathlib costs 1 MB
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_mtime_ns, found.st_size
