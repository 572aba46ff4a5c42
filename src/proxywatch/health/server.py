"""The health port, :9999.

Whoever connects is answered: an HTTP client by what it asks for, a silent one after a moment as if it had
asked for `/`. Answers come from memory alone, so nothing that hangs can make this port hang.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Self, cast

import msgspec

from proxywatch.clock import Clock
from proxywatch.health.checks import Checks, conclude
from proxywatch.health.settings import Settings
from proxywatch.net.limits import Waiting
from proxywatch.net.listener import Listener

log = logging.getLogger(__name__)

_LONGEST_REQUEST = 1 << 10
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_VANISHED = 5.0  # seconds after which the kernel forgets a peer that acknowledges nothing
_FAREWELL = 1.0
_TICK = 0.1
_AT_ONCE = 50  # clients that are answered before the loop turns
_FIELDS = 3  # of a request line
_ALLOWED = "GET, HEAD, OPTIONS"
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class HealthServer:
    """Answers on the health port; an asynchronous context.

    Args:
        settings: Where to listen, and the limits.
        checks: What is asked, by path (`/readyz`). `/livez` asks nothing: an answer is the proof.
    """

    def __init__(self, settings: Settings, checks: Mapping[str, Checks], clock: Clock) -> None:
        self._settings = settings
        self._checks = {path.encode(): ask for path, ask in checks.items()}
        self._paths = ", ".join(("/livez", *checks))
        self._clock = clock
        self._silent: Waiting[_HealthClient] = Waiting(settings.silence)
        self._leaving: Waiting[_HealthClient] = Waiting(_FAREWELL)
        self._listener = Listener("health", lambda: _HealthClient(self), _VANISHED)
        self._group = asyncio.TaskGroup()
        self._connected = asyncio.Event()

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return self._listener.addresses

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._silent) + len(self._leaving)

    async def __aenter__(self) -> Self:
        await self._listener.open(self._settings.listen)
        await self._group.__aenter__()
        self._ticker = self._group.create_task(self._tick(), name="health deadlines")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self._ticker.cancel()
        for client in [*self._silent, *self._leaving]:
            client.drop()
        await self._group.__aexit__(None, None, None)

    async def _tick(self) -> None:
        while True:
            await self._connected.wait()  # while nobody is connected, nothing is late
            await self._clock.sleep_until(self._clock.monotonic() + _TICK)
            now = self._clock.monotonic()
            for number, client in enumerate(self._silent.late(now)):
                client.answer()
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
            for number, client in enumerate(self._leaving.late(now)):
                client.drop()
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
            if not self.connections:
                self._connected.clear()

    # What a client asks of its server.

    def opened(self, client: "_HealthClient") -> None:
        """Count a client; when there are too many, the oldest one is answered at once."""
        self._silent.add(client, self._clock.monotonic())
        self._connected.set()
        if self.connections <= self._settings.max_connections:
            return
        oldest = self._leaving.first() or self._silent.first() or client
        oldest.answer()
        oldest.drop()

    def answered(self, client: "_HealthClient") -> None:
        """Give a client that has its answer a moment to take it."""
        self._silent.discard(client)
        self._leaving.add(client, self._clock.monotonic())

    def closed(self, client: "_HealthClient") -> None:
        """Forget a client."""
        self._silent.discard(client)
        self._leaving.discard(client)

    def respond(self, request: bytes) -> bytes:
        """Return the answer to whatever has been sent, up to the first empty line."""
        fields = _END_OF_HEAD.split(request, maxsplit=1)[0].lstrip().partition(b"\n")[0].split()
        method = fields[0] if fields else b"GET"
        target = fields[1] if len(fields) > 1 and fields[1].startswith(b"/") else b"/"
        if method not in (b"GET", b"HEAD", b"OPTIONS") and len(fields) == _FIELDS:
            return _response(405, "this is for GET, HEAD and OPTIONS\n", allow=True)
        path, _, query = target.partition(b"?")
        try:
            status, body = self._route(path, verbose=query.startswith(b"verbose"))
        except Exception:
            log.exception("a health check failed", extra={"path": path.decode("latin-1")})
            status, body = 500, "an error of this server; its log has details\n"
        return _response(status, body, head=method == b"HEAD", allow=method == b"OPTIONS")

    def _route(self, path: bytes, *, verbose: bool) -> tuple[int, str]:
        if path in (b"/", b"/livez"):
            return 200, "ok\n"
        ask = self._checks.get(path)
        if ask is None:
            return 404, f"there are {self._paths}, each with ?verbose\n"
        health = conclude(ask())
        status = 200 if health.status == "ok" else 503
        if verbose or path == b"/healthz":
            return status, msgspec.json.encode(health).decode() + "\n"
        return status, "".join(f"{'+' if c.ok else '-'} {c.name}: {c.reason}\n" for c in health.checks)


def _response(status: int, body: str, *, head: bool = False, allow: bool = False) -> bytes:
    kind = "application/json" if body.startswith("{") else "text/plain; charset=utf-8"
    content = body.encode()
    allowed = f"allow: {_ALLOWED}\r\n" if allow else ""
    lines = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n"
        f"cache-control: no-store\r\n{allowed}connection: close\r\n\r\n"
    )
    return lines.encode() + (b"" if head else content)


class _HealthClient(asyncio.Protocol):
    """Whoever has connected."""

    __slots__ = ("_answered", "_data", "_server", "_transport")

    def __init__(self, server: HealthServer) -> None:
        self._server = server
        self._data = b""
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the reason
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        before = len(self._data)
        self._data += data[: _LONGEST_REQUEST - before]
        if len(self._data) == _LONGEST_REQUEST or _END_OF_HEAD.search(self._data, max(before - 2, 0)):
            self.answer()

    def eof_received(self) -> bool:
        self.answer()
        return False

    def answer(self) -> None:
        """Answer once; the client closes first, as unread input would make the kernel drop the answer."""
        if not self._answered and not self._transport.is_closing():
            self._answered = True
            self._transport.write(self._server.respond(self._data))
            self._transport.write_eof()
            self._data = b""
            self._server.answered(self)

    def drop(self) -> None:
        """Close."""
        self._transport.abort() if self._transport.get_write_buffer_size() else self._transport.close()
