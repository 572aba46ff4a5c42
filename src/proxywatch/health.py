"""TCP on :9999: is the process alive, does the proxy work, is the tunnel up?

Whoever connects is answered: an HTTP client by what it asks for, a silent one after a moment as if it had
asked for `/`. Answers come from memory alone, so nothing that hangs can make this face hang.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal, Self, cast

import msgspec

from proxywatch.parse.quantity import Address, Duration
from proxywatch.scrape import Outcome
from proxywatch.source.clock import Clock
from proxywatch.web.addresses import Addresses
from proxywatch.web.limits import Waiting
from proxywatch.web.listener import Listener

log = logging.getLogger(__name__)

_LONGEST_REQUEST = 4 << 10
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_ROUNDS = 3
_FAREWELL = 1.0
_TICK = 0.1
_PATIENCE = 5.0
_REQUEST_LINE = 3
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

Tunnel = tuple[str, str, bool]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The health face.

    Attributes:
        listen: Where: an address, a unix socket, or several of them with commas between.
        require: Collectors without whose recent success the pod is not ready.
        max_connections: Connections that may be open at once; one more makes the oldest be answered at once.
        silence: How long a client may be silent before it is answered as if it had asked for `/`.
    """

    listen: Addresses = Addresses.parse(":9999")
    require: tuple[str, ...] = ("latency",)
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 4096
    silence: Duration = Duration(1)


class Check(msgspec.Struct, frozen=True):
    """One thing that readiness depends on.

    Attributes:
        name: Which.
        ok: Whether it is well.
        reason: Why, in words.
        age_seconds: Since it was last well; None when it never was, or has no age.
    """

    name: str
    ok: bool
    reason: str
    age_seconds: float | None = None


class Health(msgspec.Struct, frozen=True):
    """The answer of /healthz?verbose."""

    status: Literal["ok", "failing"]
    checks: list[Check]


def verdict(
    required: Mapping[str, float], outcomes: Mapping[str, Outcome], tunnel: Tunnel | None, now: float
) -> Health:
    """Conclude readiness.

    Args:
        required: By collector, the seconds that its last success may lie back.
        outcomes: Of the collectors that have run.
        tunnel: State, words, whether it is up; None when nobody watches it.
        now: Unix time.
    """
    checks = [_check(name, longest, outcomes.get(name), now) for name, longest in required.items()]
    checks.append(_tunnel(tunnel))
    return Health("ok" if all(check.ok for check in checks) else "failing", checks)


def _check(name: str, longest: float, outcome: Outcome | None, now: float) -> Check:
    if outcome is None:
        return Check(name, ok=False, reason="has not run yet")
    if outcome.last_success is None:
        return Check(name, ok=False, reason=f"has never succeeded: {outcome.message}")
    age = max(now - outcome.last_success, 0.0)
    if age <= longest:
        return Check(name, ok=True, reason=f"succeeded {age:.0f} s ago", age_seconds=age)
    why = f": {outcome.message}" if outcome.message else ""
    return Check(
        name, ok=False, reason=f"last success {age:.0f} s ago, {longest:.0f} s allowed{why}", age_seconds=age
    )


def _tunnel(tunnel: Tunnel | None) -> Check:
    if tunnel is None:
        return Check("tunnel", ok=True, reason="nobody watches it")
    state, words, up = tunnel
    return Check("tunnel", ok=up, reason=f"{state}: {words}" if words else state)


def allowance(interval: float, timeout: float) -> float:
    """How far back a collector's last success may lie: three rounds of it, in seconds."""
    return _ROUNDS * interval + timeout


@dataclass(frozen=True, slots=True)
class Sources:
    """What health is concluded from; all of it is in memory.

    Attributes:
        required: By required collector, the seconds that its last success may lie back.
        outcomes: Of the collectors that have run.
        tunnel: Its state, words, whether it is up; None when nobody watches it.
    """

    required: Callable[[], Mapping[str, float]]
    outcomes: Mapping[str, Outcome]
    tunnel: Callable[[], Tunnel | None]


class HealthServer:
    """The face; an asynchronous context."""

    def __init__(self, settings: Settings, sources: Sources, clock: Clock) -> None:
        self._settings = settings
        self._sources = sources
        self._clock = clock
        self._silent: Waiting[_Client] = Waiting(settings.silence)
        self._leaving: Waiting[_Client] = Waiting(_FAREWELL)
        self._listener = Listener("health", lambda: _Client(self), _PATIENCE)
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
        if path not in (b"/readyz", b"/vpnz", b"/healthz"):
            return 404, "there are /livez, /readyz, /vpnz and /healthz?verbose\n"
        sources = self._sources
        tunnel = sources.tunnel()
        required = {} if path == b"/vpnz" else sources.required()
        health = verdict(required, sources.outcomes, tunnel, self._clock.now())
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


async def ask(address: Address, path: str = "/livez") -> tuple[bool, str]:
    """Ask the face of a running exporter, as a container's health check does.

    Args:
        address: Where it listens.
        path: What to ask for: /livez, /readyz, /vpnz.

    Returns:
        Whether it answered 200, and what it said.

    Raises:
        OSError: Nobody answered there in time.
    """
    async with asyncio.timeout(_PATIENCE):
        host = "localhost" if address.host in (None, "0.0.0.0", "::") else address.host
        opening = (
            asyncio.open_unix_connection(address.path)
            if address.path
            else asyncio.open_connection(host, address.port)
        )
        reader, writer = await opening
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = (await reader.read(_LONGEST_REQUEST)).decode(errors="replace")
        writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head.split(" ")[1:2] == ["200"], body.strip()
