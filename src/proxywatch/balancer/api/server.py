"""Serves the application on our own sockets, and ends when it is told to."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Self

import uvicorn

from proxywatch.balancer.api.guard import App
from proxywatch.errors import ConfigError
from proxywatch.net import sockets
from proxywatch.net.addresses import Addresses

log = logging.getLogger(__name__)

_STOP_WITHIN = 5
_KEEP_ALIVE = 30


class ApiServer:
    """The application's server; an asynchronous context.

    Attributes:
        addresses: Where it listens, as people write it.
    """

    def __init__(self, app: App, listen: Addresses, max_connections: int) -> None:
        self.addresses: list[str] = []
        self._listen = listen
        self._sockets: list[socket.socket] = []
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="none",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=max_connections,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_STOP_WITHIN,
            )
        )
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        try:
            for address in self._listen:
                self._sockets += sockets.bound(address, "api.listen")
        except ConfigError:
            self._close()
            raise
        self.addresses = [sockets.describe(one) for one in self._sockets]
        await self._group.__aenter__()
        for one in self._sockets:
            one.listen(sockets.BACKLOG)  # from here on connections wait, also while the server starts
        self._group.create_task(self._server.serve(self._sockets), name="api")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        try:
            await self._group.__aexit__(None, None, None)
        finally:
            self._close()

    def _close(self) -> None:
        for one in self._sockets:
            one.close()


class _Server(uvicorn.Server):
    """Without signal handlers: the daemon has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
