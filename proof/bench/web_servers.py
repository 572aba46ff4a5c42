"""One HTTP server of another make, with our health port in the same loop; run by `bench_web_servers.py`.

    python proof/bench/web_servers.py NAME BODY

It serves the bytes of a file as /metrics, and 404 for the rest. Its own limits are as near to ours as its
settings allow: 16 KiB for a head, 10 s for it to arrive, 5 minutes between requests, 12,000 connections.
Prints where it listens.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from serving import free_port, raise_open_files

from proxywatch.clock import SystemClock
from proxywatch.health.server import HealthServer
from proxywatch.health.settings import Settings
from proxywatch.net.addresses import Addresses
from proxywatch.net.limits import Limits
from proxywatch.quantity import Address
from proxywatch.web.message import HttpRequest, Response
from proxywatch.web.server import WebServer

_HEAD = 16 << 10
_KEEP = 300
_BACKLOG = 4096
_CONNECTIONS = 12_000
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Message = dict[str, Any]
Serve = Callable[[bytes, socket.socket], Awaitable[None]]


def application(body: bytes) -> Callable[..., Awaitable[None]]:
    """The same as an ASGI application."""
    headers = [(b"content-type", _TYPE.encode()), (b"content-length", str(len(body)).encode())]

    async def app(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        found = scope["path"] == "/metrics"
        status, chosen = (200, headers) if found else (404, [(b"content-length", b"0")])
        await send({"type": "http.response.start", "status": status, "headers": chosen})
        await send({"type": "http.response.body", "body": body if found else b""})

    return app


async def proxywatch(body: bytes, sock: socket.socket) -> None:
    """Ours."""
    ready = Response.make(200, body, _TYPE)

    def handle(request: HttpRequest) -> Response:
        return ready if request.path == "/metrics" else Response.make(404, b"")

    port = sock.getsockname()[1]
    sock.close()
    async with WebServer("http", handle, Limits(), SystemClock()) as server:
        await server.listen([Address.parse(f"127.0.0.1:{port}")])
        await asyncio.Event().wait()


async def uvicorn(body: bytes, sock: socket.socket) -> None:
    """With httptools."""
    import uvicorn as library  # noqa: PLC0415 - installed by the bench

    config = library.Config(
        application(body), http="httptools", log_level="critical", access_log=False, backlog=_BACKLOG,
        timeout_keep_alive=_KEEP, limit_concurrency=_CONNECTIONS,
    )  # fmt: skip
    await library.Server(config).serve(sockets=[sock])


async def hypercorn(body: bytes, sock: socket.socket) -> None:
    """With h11."""
    from hypercorn.asyncio import serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415

    config = Config()
    config.bind = [f"fd://{sock.fileno()}"]
    config.backlog, config.keep_alive_timeout, config.h11_max_incomplete_size = _BACKLOG, _KEEP, _HEAD
    config.read_timeout, config.loglevel, config.errorlog = 10, "CRITICAL", None
    await serve(application(body), config, shutdown_trigger=asyncio.Event().wait)  # type: ignore[arg-type]


async def granian(body: bytes, sock: socket.socket) -> None:
    """Its embeddable server, on Rust's hyper, in a thread of its own."""
    from granian.constants import HTTPModes, Interfaces  # noqa: PLC0415
    from granian.http import HTTP1Settings  # noqa: PLC0415
    from granian.server.embed import Server  # noqa: PLC0415

    port = sock.getsockname()[1]
    sock.close()
    limits = HTTP1Settings(header_read_timeout=10_000, max_buffer_size=_HEAD)
    server = Server(
        application(body), port=port, interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False,
        backlog=_BACKLOG, backpressure=_CONNECTIONS, http1_settings=limits, log_enabled=False,
    )  # fmt: skip
    await server.serve()


async def aiohttp(body: bytes, sock: socket.socket) -> None:
    """Its low-level server."""
    from aiohttp import web  # noqa: PLC0415

    async def handle(request: web.BaseRequest) -> web.Response:
        if request.path != "/metrics":
            return web.Response(status=404)
        return web.Response(body=body, headers={"content-type": _TYPE})

    server = web.Server(
        handle, keepalive_timeout=_KEEP, access_log=None, max_field_size=_HEAD, max_line_size=_HEAD
    )
    sock.listen(_BACKLOG)
    await (
        await asyncio.get_running_loop().create_server(server, sock=sock, backlog=_BACKLOG)
    ).serve_forever()


SERVERS: dict[str, Serve] = {
    "proxywatch": proxywatch,
    "uvicorn": uvicorn,
    "hypercorn": hypercorn,
    "granian": granian,
    "aiohttp": aiohttp,
}


async def main(name: str, body: bytes) -> None:
    """Serve until killed."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", free_port()))
    sock.setblocking(False)  # noqa: FBT003
    where = sock.getsockname()[1]
    settings = Settings(listen=Addresses.parse("127.0.0.1:0"))
    async with HealthServer(settings, {}, SystemClock()) as health, asyncio.TaskGroup() as group:
        group.create_task(SERVERS[name](body, sock))  # type: ignore[arg-type]
        print(f"listening http=127.0.0.1:{where} health={health.addresses[0]}", flush=True)


if __name__ == "__main__":
    raise_open_files()
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes()))
