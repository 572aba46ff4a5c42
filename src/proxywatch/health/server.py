"""The face on :9999.

Whoever connects is answered: an HTTP client by what it asks for, a silent one after a moment as if it had
asked for `/`. Answers come from memory alone, so nothing that hangs can make this face hang.
"""

import asyncio
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

_LONGEST_REQUEST = 4 << 10
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_VANISHED = 5.0  # seconds after which the kernel forgets a peer that acknowledges nothing
_FAREWELL = 1.0
_TICK = 0.1
_REQUEST_LINE = 3
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
        self._silent: Waiting[_Client] = Waiting(settings.silence)
        self._leaving: Waiting[_Client] = Waiting(_FAREWELL)
        self._listener = Listener("health", lambda: _Client(self), _VANISHED)
        self._group = asyncio.TaskGroup()
        self._somebody = asyncio.Event()

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
            await self._somebody.wait()  # while nobody is connected, nothing is late
            await self._clock.sleep_until(self._clock.monotonic() + _TICK)
            now = self._clock.monotonic()
            for client in self._silent.late(now):
                client.answer()
            for client in self._leaving.late(now):
                client.drop()
            if not self.connections:
                self._somebody.clear()

    # What a client asks of the face.

    def opened(self, client: "_Client") -> None:
        """One more; when there are too many, the oldest one is answered at once."""
        self._silent.add(client, self._clock.monotonic())
        self._somebody.set()
        if self.connections <= self._settings.max_connections:
            return
        oldest = self._leaving.first() or self._silent.first() or client
        oldest.answer()
        oldest.drop()

    def answered(self, client: "_Client") -> None:
        """It has its answer, and has a moment to take it."""
        self._silent.discard(client)
        self._leaving.add(client, self._clock.monotonic())

    def closed(self, client: "_Client") -> None:
        """One less."""
        self._silent.discard(client)
        self._leaving.discard(client)

    def respond(self, request: bytes) -> bytes:
        """The answer to whatever has been sent, up to the first empty line."""
        words = _END_OF_HEAD.split(request, maxsplit=1)[0].lstrip().partition(b"\n")[0].split()
        method = words[0] if words else b"GET"
        target = words[1] if len(words) > 1 and words[1].startswith(b"/") else b"/"
        if method not in (b"GET", b"HEAD") and len(words) == _REQUEST_LINE:
            return _response(405, "this is for GET and HEAD\n")
        path, _, query = target.partition(b"?")
        status, body = self._route(path, verbose=query.startswith(b"verbose"))
        return _response(status, body, head=method == b"HEAD")

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


def _response(status: int, body: str, *, head: bool = False) -> bytes:
    kind = "application/json" if body.startswith("{") else "text/plain; charset=utf-8"
    content = body.encode()
    lines = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n"
        "cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return lines.encode() + (b"" if head else content)


class _Client(asyncio.Protocol):
    """Whoever has connected."""

    __slots__ = ("_answered", "_data", "_face", "_transport")

    def __init__(self, face: HealthServer) -> None:
        self._face = face
        self._data = b""
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._face.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the reason
        self._face.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        self._data += data[: _LONGEST_REQUEST - len(self._data)]
        if len(self._data) == _LONGEST_REQUEST or _END_OF_HEAD.search(self._data):
            self.answer()

    def eof_received(self) -> bool:
        self.answer()
        return False

    def answer(self) -> None:
        """Say it, once; the client closes first, as unread input would make the kernel drop our words."""
        if not self._answered and not self._transport.is_closing():
            self._answered = True
            self._transport.write(self._face.respond(self._data))
            self._transport.write_eof()
            self._data = b""
            self._face.answered(self)

    def drop(self) -> None:
        """Close."""
        self._transport.abort() if self._transport.get_write_buffer_size() else self._transport.close()
