"""From a setting to an open port, on one or more sockets."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from proxywatch.net import sockets
from proxywatch.quantity import Address


class Listener:
    """The sockets of one port.

    Attributes:
        addresses: As a person would type them, with the port that the kernel chose.
    """

    def __init__(self, name: str, factory: Callable[[], asyncio.BaseProtocol], timeout: float) -> None:
        """Prepare; nothing is open yet.

        Args:
            name: The section of the settings that has `listen`; also what systemd calls our sockets.
            factory: Makes the protocol of one connection.
            timeout: Seconds for which what was sent to a client may stay unacknowledged.
        """
        self.addresses: list[str] = []
        self._name = name
        self._factory = factory
        self._timeout = timeout
        self._servers: list[asyncio.AbstractServer] = []
        self._paths: list[str] = []

    async def open(self, addresses: Sequence[Address]) -> None:
        """Listen on what systemd handed over, else on the addresses.

        Raises:
            ConfigError: An address that cannot be bound.
        """
        opened = sockets.inherited(self._name)
        if not opened:
            opened = [
                sock for address in addresses for sock in sockets.bound(address, f"{self._name}.listen")
            ]
            self._paths = [address.path for address in addresses if address.path is not None]
        for sock in opened:
            sock.setblocking(False)  # noqa: FBT003
            sockets.end_silent_peers(sock, self._timeout)
            self.addresses.append(sockets.describe(sock))
            self._servers.append(await self._serve(sock))

    async def _serve(self, sock: socket.socket) -> asyncio.AbstractServer:
        loop = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            return await loop.create_unix_server(self._factory, sock=sock, backlog=sockets.BACKLOG)
        return await loop.create_server(self._factory, sock=sock, backlog=sockets.BACKLOG)

    def close(self) -> None:
        """Accept no new connections; open ones stay."""
        for server in self._servers:
            server.close()
        for path in self._paths:
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - pathlib costs 1 MB
        self._servers, self._paths, self.addresses = [], [], []
