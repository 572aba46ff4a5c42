"""Asks the health port of a running daemon, as a container's health check does."""

import socket
import time

from proxywatch.quantity import Address

_PATIENCE = 5.0
_LONGEST_ANSWER = 8 << 10


def ask(address: Address, path: str = "/livez") -> tuple[bool, str]:
    """Ask, and wait at most five seconds.

    Args:
        address: Where the health port listens.
        path: What to ask for: /livez, /readyz, /vpnz.

    Returns:
        Whether it answered 200, and the body of the answer.

    Raises:
        OSError: Nobody answered there in time.
    """
    deadline = time.monotonic() + _PATIENCE
    answer = b""
    with _connect(address) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        while len(answer) < _LONGEST_ANSWER:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = connection.recv(_LONGEST_ANSWER)
            if not piece:
                break
            answer += piece
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    return head.split(" ")[1:2] == ["200"], body.strip()


def _connect(address: Address) -> socket.socket:
    if not address.path:
        host = "localhost" if address.host in (None, "0.0.0.0", "::") else address.host
        return socket.create_connection((host, address.port), _PATIENCE)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE)
    try:
        connection.connect(address.path)
    except BaseException:
        connection.close()
        raise
    return connection
