"""A connection to a node that is reached through another proxy: the first of two hops, made here.

libcurl speaks to one SOCKS proxy, not to two. So the first is asked here for a connection to the second, and libcurl is
given that connection.
"""

import asyncio
import base64
import socket

from proxywatch.balancer.node import Upstream
from proxywatch.errors import ParseError, SourceError
from proxywatch.parse import http_proxy, socks
from proxywatch.source import file

_LONGEST_HEAD = 8192
_LONGEST_PASSWORD = 4096


async def dial(hop: Upstream, host: str, port: int) -> socket.socket:
    """A connection through the proxy `hop` to `host` and `port`, not blocking; the proxy resolves the name.

    Raises:
        SourceError: The proxy cannot be reached, or does not connect.
    """
    if hop.scheme == "https":
        raise SourceError("nodes behind an https proxy are not probed")
    try:
        connection = await _connected(hop)
    except OSError as error:
        raise SourceError(f"the hop cannot be reached: {error.strerror or error}") from None
    try:
        if hop.scheme == "socks5":
            await _socks(connection, hop, host, port)
        else:
            await _tunnel(connection, hop, host, port)
    except (OSError, ParseError) as error:
        connection.close()
        raise SourceError(f"the hop failed: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


async def _connected(hop: Upstream) -> socket.socket:
    loop = asyncio.get_running_loop()
    places = await loop.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
    last: OSError = OSError("no address")
    for family, kind, protocol, _, place in places:
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)  # noqa: FBT003 - the library's
        try:
            await loop.sock_connect(connection, place)
        except OSError as error:
            last = error
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise last


async def _socks(connection: socket.socket, hop: Upstream, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, socks.hello(login=bool(hop.username)))
    chosen = socks.choice(await _exactly(connection, 2))
    method = chosen[0] if chosen else socks.NOTHING_SUITS
    if method == socks.PASSWORD and hop.username:
        await loop.sock_sendall(connection, socks.login(hop.username.encode(), _password(hop)))
        verdict = socks.verdict(await _exactly(connection, 2))
        if verdict is None or verdict[0]:
            raise ParseError("it refuses the login")
    elif method != socks.NO_LOGIN or hop.username:
        raise ParseError("it accepts none of our ways to log in")
    await loop.sock_sendall(connection, socks.connect(host, port))
    head = await _exactly(connection, 5)
    rest = {1: 5, 4: 17, 3: head[4] + 2}.get(head[3])
    if rest is None:
        raise ParseError("its reply has an unknown type of address")
    answer = socks.answer(head + await _exactly(connection, rest))
    if answer is None or answer[0].code != socks.GRANTED:
        raise ParseError(f"it answered {head[1]}")


async def _tunnel(connection: socket.socket, hop: Upstream, host: str, port: int) -> None:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"host: {where}"]
    if hop.username:
        login = base64.b64encode(hop.username.encode() + b":" + _password(hop)).decode()
        lines.append(f"proxy-authorization: Basic {login}")
    await asyncio.get_running_loop().sock_sendall(connection, "\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await _exactly(connection, 1)  # what follows is the tunnel's
        if len(head) > _LONGEST_HEAD:
            raise ParseError("its answer is too long")
    response = http_proxy.response_head(head, b"CONNECT")
    if response is None or not 200 <= response.status < 300:  # noqa: PLR2004 - the class of success
        raise ParseError(f"it answered {response.status if response else 'nothing'}")


async def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await asyncio.get_running_loop().sock_recv(connection, count - len(data))
        if not chunk:
            raise ParseError("it closed the connection")
        data += chunk
    return data


def _password(hop: Upstream) -> bytes:
    return file.read(hop.password_file, _LONGEST_PASSWORD).rstrip(b"\r\n") if hop.password_file else b""
