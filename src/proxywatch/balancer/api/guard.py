"""Who may call the API, and from where: checked before any route sees the request.

In this order:

    421  the Host is none of ours: a page that was rebound to our address by DNS has its own name there
    401  no user or token, or a wrong one, where there are any
    403  a browser's page from elsewhere asks for a change or for events, or the role does not allow it
    415  a body that is not JSON
    413  a body longer than BODY
    429  too many wrong credentials of this address, or too many comparisons at once

A change is any method but GET, HEAD and OPTIONS, and a GET with `advance=true`.
"""

import ipaddress
from base64 import b64decode
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Role = Literal["read", "operate"]

BODY = 64 << 10
_SAFE = ("GET", "HEAD", "OPTIONS")
_LONGEST_CREDENTIALS = 1024


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        name: Of the user or token; empty where nobody has to say.
        role: What they may do.
    """

    name: str
    role: Role


EVERYBODY = Caller("", "operate")
Authenticate = Callable[[str, str, str], Awaitable[Caller | None]]
"""Scheme in lower case (`basic`, `bearer`), its credentials, the caller's address; None when they are wrong."""


class BusyError(Exception):
    """Credentials cannot be compared now."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names and addresses under which requests are answered.

    Attributes:
        names: In lower case, besides `localhost`.
        addresses: Address literals that we listen on; empty for all, when we listen on every address.
    """

    names: frozenset[str]
    addresses: frozenset[str]

    @classmethod
    def of(cls, listening: Iterable[str | None], names: Collection[str]) -> "Hosts":
        """From the hosts of the listening addresses (None for every address) and the configured names."""
        hosts = list(listening)
        everywhere = any(host in (None, "0.0.0.0", "::") for host in hosts)
        literals = frozenset() if everywhere else frozenset(host for host in hosts if host)
        return cls(frozenset(name.lower() for name in names), literals)

    def allow(self, header: str) -> bool:
        """Whether a Host header names us."""
        name = host_of(header)
        if name is None:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name in self.names
        return not self.addresses or str(address) in self.addresses or address.is_loopback


class Guard:
    """An ASGI application before another one."""

    def __init__(self, app: App, hosts: Hosts, authenticate: Authenticate | None, *, realm: str) -> None:
        """Guard an application.

        Args:
            app: What is guarded.
            hosts: Under which names it may be called.
            authenticate: Checks credentials; None when nobody has to say who they are.
            realm: Shown by browsers that ask for a password.
        """
        self._app = app
        self._hosts = hosts
        self._authenticate = authenticate
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] not in ("http", "websocket") or scope.get("local"):
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        refusal = await self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, _bounded(receive), send)
            return
        status, detail = refusal
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4000 + status, "reason": detail})
            return
        await _answer(send, status, detail, self._challenge if status == 401 else "")  # noqa: PLR2004

    async def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        if not self._hosts.allow(headers.get("host", "")):
            return 421, "this host name is not ours; `api.hosts` takes further ones"
        try:
            caller = await self._caller(headers.get("authorization", ""), scope)
        except BusyError:
            return 429, "too many wrong credentials from this address; try again in a minute"
        if caller is None:
            return 401, "a user or token is needed"
        scope.setdefault("state", {})["caller"] = caller
        websocket = scope["type"] == "websocket"
        method = "GET" if websocket else scope["method"]
        query = scope.get("query_string", b"")
        changes = method not in _SAFE or b"advance=true" in query.lower().split(b"&")
        streams = websocket or scope["path"] == "/api/events"
        if (changes or streams) and self._foreign(headers):
            return 403, "not from a page of another origin"
        if changes and caller.role != "operate":
            return 403, "the role `operate` is needed (role=operate in the users file)"
        return _body_refusal(headers) if method not in _SAFE else None

    async def _caller(self, authorization: str, scope: Scope) -> Caller | None:
        if self._authenticate is None:
            return EVERYBODY
        scheme, _, credentials = authorization.partition(" ")
        if not credentials or len(credentials) > _LONGEST_CREDENTIALS:
            return None
        client = scope.get("client")
        return await self._authenticate(scheme.lower(), credentials.strip(), client[0] if client else "")

    def _foreign(self, headers: dict[str, str]) -> bool:
        if headers.get("sec-fetch-site") == "cross-site":
            return True
        origin = headers.get("origin")
        if origin is None:
            return False
        return not self._hosts.allow(urlsplit(origin).netloc)


def basic(credentials: str) -> tuple[str, str] | None:
    """User and password of Basic credentials (RFC 7617); None when they are no such."""
    try:
        user, colon, password = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if colon else None


def host_of(header: str) -> str | None:
    """The host of a Host header, without port and brackets, in lower case; None when it is none."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.path:
        return None
    return parts.hostname.rstrip(".")


def _body_refusal(headers: dict[str, str]) -> tuple[int, str] | None:
    length = headers.get("content-length", "")
    if length in ("", "0") and "transfer-encoding" not in headers:
        return None
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "a body has to be application/json"
    if length.isdigit() and int(length) > BODY:
        return 413, f"a body of more than {BODY} bytes"
    return None


class BodyTooLongError(Exception):
    """More of a body came than is taken."""


def _bounded(receive: Receive) -> Receive:
    """The same, but for bodies that are longer than they may be."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > BODY:
            raise BodyTooLongError
        return message

    return bounded


async def _answer(send: Send, status: int, detail: str, challenge: str) -> None:
    body = msgspec.json.encode({"detail": detail})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if challenge:
        headers.append((b"www-authenticate", challenge.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
