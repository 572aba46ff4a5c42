"""Ways to reach a resolver by TCP: directly, or through a SOCKS5 proxy, which then also resolves names."""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_address
from typing import Protocol

from proxywatch.dns.upstream.base import UpstreamError, failure

LIMIT = 128 << 10
_NAME = 255
_REPLIES = {
    1: "general failure", 2: "not allowed by its rules", 3: "network unreachable", 4: "host unreachable",
    5: "connection refused", 6: "TTL expired", 7: "command not supported", 8: "kind of address not supported",
}  # fmt: skip

Resolve = Callable[[str], Awaitable[list[str]]]


class Dialer(Protocol):
    """Opens connections."""

    async def open_stream(self, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
        """Connect to a port of a host, given by address or name.

        Raises:
            UpstreamError: No connection.
        """


class Direct:
    """From this machine itself; names are resolved by the bootstrap, never by the system."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve

    async def open_stream(self, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
        """Connect to the first of the host's addresses that takes it."""
        last = UpstreamError("name", f"{host} has no address")
        for address in await self._resolve(host):
            try:
                return await _connect(address, port)
            except OSError as error:
                last = failure(error)
        raise last


class Socks5:
    """Through a SOCKS5 proxy (RFC 1928, 1929). There is no way around it."""

    def __init__(
        self, host: str, port: int, resolve: Resolve, username: str = "", password: Callable[[], str] = str
    ) -> None:
        """Name the proxy.

        Args:
            host: Its address or name.
            port: Its port.
            resolve: Resolves the proxy's own name.
            username: Empty for none.
            password: Gives the password, when dialing.
        """
        self._proxy = Direct(resolve), host, port
        self._username = username
        self._password = password

    async def open_stream(self, host: str, port: int) -> tuple[StreamReader, StreamWriter]:
        """Have the proxy connect."""
        direct, proxy, proxy_port = self._proxy
        reader, writer = await direct.open_stream(proxy, proxy_port)
        try:
            await self._handshake(reader, writer, host, port)
        except asyncio.IncompleteReadError:
            writer.transport.abort()
            raise UpstreamError("closed", "the proxy closed the connection during its handshake") from None
        except OSError as error:
            writer.transport.abort()
            raise failure(error) from error
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    async def _handshake(self, reader: StreamReader, writer: StreamWriter, host: str, port: int) -> None:
        method = 2 if self._username else 0
        writer.write(bytes((5, 1, method)))
        if await reader.readexactly(2) != bytes((5, method)):
            raise UpstreamError("protocol", "the proxy refused the way of logging in")
        if self._username:
            await self._log_in(reader, writer)
        writer.write(b"\5\1\0" + _address(host) + port.to_bytes(2, "big"))
        version, reply, _, kind = await reader.readexactly(4)
        if version != 5 or reply:  # noqa: PLR2004 - SOCKS 5
            raise UpstreamError("unreachable", f"the proxy: {_REPLIES.get(reply, 'an unknown reply')}")
        await _skip_address(reader, kind)

    async def _log_in(self, reader: StreamReader, writer: StreamWriter) -> None:
        user, password = self._username.encode(), self._password().encode()
        if max(len(user), len(password)) > _NAME:
            raise UpstreamError("local", "the user or password for the proxy is too long")
        writer.write(b"\1" + bytes((len(user),)) + user + bytes((len(password),)) + password)
        if (await reader.readexactly(2))[1]:
            raise UpstreamError("refused", "the proxy refused the user or password")


def _address(host: str) -> bytes:
    try:
        address = ip_address(host)
    except ValueError:
        name = host.encode()
        if len(name) > _NAME:
            raise UpstreamError("name", "a name that is too long for a proxy") from None
        return bytes((3, len(name))) + name
    return (b"\1" if isinstance(address, IPv4Address) else b"\4") + address.packed


async def _skip_address(reader: StreamReader, kind: int) -> None:
    sizes = {1: 4, 4: 16}
    if kind not in {1, 3, 4}:
        raise UpstreamError("protocol", "the proxy's reply is malformed")
    size = sizes.get(kind) or (await reader.readexactly(1))[0]
    await reader.readexactly(size + 2)


async def _connect(address: str, port: int) -> tuple[StreamReader, StreamWriter]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        return await asyncio.open_connection(sock=sock, limit=LIMIT)
    except BaseException:
        sock.close()
        raise
