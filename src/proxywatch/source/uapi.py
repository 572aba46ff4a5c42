"""The socket on which a userspace WireGuard (wireguard-go, boringtun) answers questions about its device.

Its answers hold the device's private key, so they are received into the caller's own buffer, who wipes it.
"""

import asyncio
import socket

from proxywatch.errors import SourceError
from proxywatch.source.file import unreadable

_GET = b"get=1\n\n"
_END = b"\n\n"


async def get(path: str, into: bytearray, patience: float = 1.0) -> int:
    """Ask for everything; returns how many bytes of the buffer the answer fills.

    Args:
        path: The socket, `/var/run/wireguard/wg0.sock`.
        into: Where the answer is put; whoever hands it in wipes it, also after an error.
        patience: Seconds.

    Raises:
        SourceError: Absent, deaf, silent or too long (temporary), or not permitted (not temporary).
    """
    try:
        async with asyncio.timeout(patience):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.setblocking(False)  # noqa: FBT003 - positional only
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, path)
                await loop.sock_sendall(sock, _GET)
                return await receive(sock, into, _END)
    except TimeoutError:
        raise SourceError(f"{path}: no answer within {patience:g} s") from None
    except OSError as error:
        raise unreadable(path, error) from error


async def receive(sock: socket.socket, into: bytearray, end: bytes = b"") -> int:
    """Fill the buffer until the other side closes or, when it is given, the end mark comes.

    Raises:
        SourceError: The buffer is full before the end.
    """
    loop = asyncio.get_running_loop()
    size = 0
    with memoryview(into) as buffer:
        while size < len(into):
            received = await loop.sock_recv_into(sock, buffer[size:])
            size += received
            if not received or (end and into.endswith(end, 0, size)):
                return size
    raise SourceError(f"an answer of more than {len(into)} bytes", temporary=False)
