"""A web server on loopback, for probes, speed tests and clients of a demonstration."""

import asyncio
from contextlib import suppress
from math import inf
from urllib.parse import unquote

_LARGEST = 100_000_000
_ZEROS = bytes(65536)


async def serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    round_trip: float = 0.0,
    bytes_per_second: float = inf,
) -> None:
    """`/get`: nothing; `/bytes/N`: N bytes; `/exit/COUNTRY`: an exit's identity. Closes after one answer.

    Args:
        reader: From the client.
        writer: To the client.
        round_trip: Of the link that it seems to be reached by, in seconds.
        bytes_per_second: Of that link.
    """
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
        head = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(round_trip)
        path = head.split(b" ", 2)[1]
        what, _, rest = path.strip(b"/").partition(b"/")
        size = min(int(rest), _LARGEST) if what == b"bytes" and rest.isdigit() else 0
        identity = _identity(unquote(rest.decode("latin-1"))) if what == b"exit" else b""
        status = b"200 OK" if what in (b"bytes", b"get", b"exit") else b"404 Not Found"
        writer.write(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            % (status, b"application/json" if identity else b"text/plain", size or len(identity))
        )
        writer.write(identity)
        for start in range(0, size, len(_ZEROS)):
            writer.write(_ZEROS[: size - start])
            await writer.drain()
            await asyncio.sleep(len(_ZEROS) / bytes_per_second)
    writer.close()


def _identity(country: str) -> bytes:
    """As identity services answer; the address is one for documentation."""
    code = "".join(filter(str.isalnum, country))[:2].upper()
    return b'{"ip": "203.0.113.7", "country": "%b"}' % code.encode()
