"""Asking the face of a running exporter, as a container's health check does."""

import socket
import time

from proxywatch.quantity import Address

_PATIENCE = 5.0
_LONGEST_ANSWER = 8 << 10


def ask(address: Address, path: str = "/livez") -> tuple[bool, str]:
    """Ask, and wait five seconds at the most.

    Args:
        address: Where the face listens.
        path: What to ask for: /livez, /readyz, /vpnz.

    Returns:
        Whether it answered 200, and what it said.

    Raises:
        OSError: Nobody answered there in time.
    """
    deadline = time.monotonic() + _PATIENCE
    answer = b""
    with _connect(address) as face:
        face.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        while len(answer) < _LONGEST_ANSWER:
            face.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = face.recv(_LONGEST_ANSWER)
            if not piece:
                break
            answer += piece
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    return head.split(" ")[1:2] == ["200"], body.strip()


def _connect(address: Address) -> socket.socket:
    if not address.path:
        host = "localhost" if address.host in (None, "0.0.0.0", "::") else address.host
        return socket.create_connection((host, address.port), _PATIENCE)
    face = socket.socket(socket.AF_UNIX)
    face.settimeout(_PATIENCE)
    try:
        face.connect(address.path)
    except BaseException:
        face.close()
        raise
    return face
