"""Listening sockets of the relay, and accepting that outlives an error."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from proxywatch.balancer.relay.settings import Settings
from proxywatch.balancer.request import Wishes
from proxywatch.errors import ConfigError, Fault
from proxywatch.net import sockets
from proxywatch.quantity import Address

_BACKLOG = 4096


class Port:
    """One address that the relay serves on.

    Attributes:
        wishes: What its clients get unless they wish for something else.
        login: Whether its clients have to log in.
    """

    def __init__(self, own: Wishes, *, login: bool) -> None:
        self.wishes = own
        self.login = login


class Listening:
    """One address.

    Attributes:
        addresses: As a person would type them.
    """

    def __init__(self, servers: list[asyncio.Server], addresses: list[str]) -> None:
        self._servers = servers
        self.addresses = addresses

    def close(self) -> None:
        """Accept no more."""
        for server in self._servers:
            server.close()


async def listen(
    address: Address,
    setting: str,
    protocol: Callable[[], asyncio.Protocol],
    settings: Settings,
    tls: ssl.SSLContext | None,
) -> Listening:
    """Listen on an address; a port without a host is bound for both families.

    Raises:
        ConfigError: It cannot be bound.
    """
    loop = asyncio.get_running_loop()
    handshake = float(settings.handshake_timeout) if tls else None
    servers, addresses = [], []
    for sock in _bound(address, setting, shared=settings.workers > 1):
        # What follows is taken over by every connection that is accepted.
        sockets.end_silent_peers(sock, settings.user_timeout)
        addresses.append(sockets.describe(sock))
        if sock.family == socket.AF_UNIX:
            server = await loop.create_unix_server(protocol, sock=sock, backlog=_BACKLOG)
        else:
            server = await loop.create_server(
                protocol, sock=sock, backlog=_BACKLOG, ssl=tls, ssl_handshake_timeout=handshake
            )
        servers.append(server)
    return Listening(servers, addresses)


def _bound(address: Address, setting: str, *, shared: bool) -> list[socket.socket]:
    try:
        if address.path is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with suppress(FileNotFoundError):
                _remove_stale(address.path)
            sock.bind(address.path)
            return [sock]
        family = socket.AF_INET6 if ":" in (address.host or "::") else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address.host is not None))
        sock.bind((address.host or "::", address.port))
    except OSError as error:
        raise ConfigError(Fault(setting, f"cannot listen on {address}: {error.strerror or error}")) from error
    return [sock]


def _remove_stale(path: str) -> None:
    """A socket that nobody serves any more is in the way of the next start."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            import os  # noqa: PLC0415 - seldom

            os.unlink(path)  # noqa: PTH108
