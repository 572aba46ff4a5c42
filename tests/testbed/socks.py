"""A SOCKS5 client taken apart, so that a test can stop it in any phase (RFC 1928). Blocking sockets.

client = connect(server.port, ("127.0.0.1", site.port))     all phases at once
client = dial(server.port)                                  connected, nothing sent
greet(client)                                               method agreed on
request(client, ("name.test", 80))                          request sent, reply not awaited
assert reply(client) == SUCCEEDED
"""

import ipaddress
import socket
from contextlib import suppress

SUCCEEDED = 0
CONNECT, BIND, UDP_ASSOCIATE = 1, 2, 3


def dial(port: int, host: str = "127.0.0.1", source: tuple[str, int] | None = None) -> socket.socket:
    """A TCP connection to the proxy."""
    return socket.create_connection((host, port), timeout=20, source_address=source)


def greet(client: socket.socket) -> None:
    """Offer `no authentication` and have it chosen."""
    client.sendall(b"\x05\x01\x00")
    if receive(client, 2) != b"\x05\x00":
        raise ConnectionError("the proxy refused to do without authentication")


def request(client: socket.socket, destination: tuple[str, int], command: int = CONNECT) -> None:
    """Ask for a destination, by address or by name."""
    host, port = destination
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        encoded = bytes([3, len(name)]) + name
    else:
        encoded = bytes([1 if address.version == 4 else 4]) + address.packed
    client.sendall(bytes([5, command, 0]) + encoded + port.to_bytes(2, "big"))


def reply(client: socket.socket) -> int:
    """Await the reply's code: 0 granted, 2 by rule, 3 to 5 unreachable or refused, 6 timed out."""
    _, code, _, kind = receive(client, 4)
    receive(client, {1: 4, 4: 16}[kind] + 2)
    return code


def connect(port: int, destination: tuple[str, int], host: str = "127.0.0.1") -> socket.socket:
    """A session through the proxy.

    Raises:
        ConnectionError: The proxy did not grant it; the message holds the reply's code.
    """
    client = dial(port, host)
    greet(client)
    request(client, destination)
    if code := reply(client):
        client.close()
        raise ConnectionError(f"SOCKS reply {code}")
    return client


def get(port: int, destination: tuple[str, int], path: str = "/get") -> bytes:
    """One GET through the proxy: the answer with its head."""
    with connect(port, destination) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


def reset(client: socket.socket) -> None:
    """Close with a RST instead of a FIN."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    client.close()


def close(*clients: socket.socket) -> None:
    """Close them all."""
    for client in clients:
        with suppress(OSError):
            client.close()


def receive(client: socket.socket, size: int) -> bytes:
    """Exactly so many bytes.

    Raises:
        ConnectionError: The proxy closed before.
    """
    data = b""
    while len(data) < size:
        chunk = client.recv(size - len(data))
        if not chunk:
            raise ConnectionError(f"the proxy closed after {len(data)} of {size} bytes")
        data += chunk
    return data
