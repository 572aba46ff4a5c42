"""The far end of the test bed: what stands behind the tunnel, and the weather on the way to it.

Run by `pod.py` inside the far namespace, with one JSON object of arguments. It says `ready` on standard
output when everything listens; each line on its standard input is the weather from now on, answered by `ok`;
it ends with its standard input.

    web, port 80    /get  /bytes/N  /delay/S  /status/N  /drip?bytes=N&seconds=S, else a file of `www`
    names, port 53  any name is the web's address, except: nx* NXDOMAIN, servfail* SERVFAIL,
                    slow* no answer at all, dead* an address that never answers
    relay           UDP in front of WireGuard: delays, drops or cuts every datagram, both ways
"""

import asyncio
import json
import os
import random
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_BLOCK = os.urandom(65536)
_BATCH = 64
_BUFFER = 4 << 20


@dataclass(frozen=True)
class Weather:
    """What happens to a datagram: seconds of delay one way, give or take `jitter`; `loss` from 0 to 1."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    cut: bool = False


class Relay:
    """Carries datagrams between whoever wrote last to the listening port and WireGuard on this side."""

    def __init__(self, listen: tuple[str, int], target: tuple[str, int]) -> None:
        self.weather = Weather()
        self._loop = asyncio.get_running_loop()
        self._peer: tuple[str, int] | None = None
        self._outer = self._socket()
        self._inner = self._socket()
        self._outer.bind(listen)
        self._inner.connect(target)
        self._loop.add_reader(self._outer, self._drain, self._from_outside)
        self._loop.add_reader(self._inner, self._drain, self._from_inside)

    @staticmethod
    def _socket() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        return sock

    def _drain(self, receive: Callable[[], None]) -> None:
        for _ in range(_BATCH):
            try:
                receive()
            except OSError:  # nothing left, or WireGuard is not there (yet)
                return

    def _from_outside(self) -> None:
        datagram, self._peer = self._outer.recvfrom(65535)
        self._forward(datagram, self._inwards)

    def _from_inside(self) -> None:
        self._forward(self._inner.recv(65535), self._outwards)

    def _forward(self, datagram: bytes, send: Callable[[bytes], None]) -> None:
        weather = self.weather
        if weather.cut or random.random() < weather.loss:
            return
        delay = weather.delay + random.uniform(-weather.jitter, weather.jitter)
        if delay > 0:
            self._loop.call_later(delay, send, datagram)
        else:
            send(datagram)

    def _inwards(self, datagram: bytes) -> None:
        try:
            self._inner.send(datagram)
        except OSError:
            return

    def _outwards(self, datagram: bytes) -> None:
        try:
            if self._peer:
                self._outer.sendto(datagram, self._peer)
        except OSError:
            return


class Names(asyncio.DatagramProtocol):
    """A name server for one question at a time, enough for a resolver."""

    def __init__(self, web: str, silent: str) -> None:
        self._web = web
        self._silent = silent
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        end = data.index(b"\0", 12) + 5
        name = data[13 : 13 + data[12]].decode(errors="replace").lower()
        wants_address = data[end - 4 : end - 2] == b"\0\1"
        if name.startswith("slow"):
            return
        code = 3 if name.startswith("nx") else 2 if name.startswith("servfail") else 0
        address = socket.inet_aton(self._silent if name.startswith("dead") else self._web)
        answer = struct.pack(">HHHIH4s", 0xC00C, 1, 1, 5, 4, address) if wants_address and not code else b""
        head = data[:2] + struct.pack(">5H", 0x8180 | code, 1, bool(answer), 0, 0)
        self._transport.sendto(head + data[12:end] + answer, addr)


class Web:
    """An HTTP server with one request per connection."""

    def __init__(self, www: Path) -> None:
        self._www = www

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head.decode("latin-1").split(" ")[1], writer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (OSError, EOFError, IndexError, ValueError):
            writer.close()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(target)
        word, _, argument = url.path.strip("/").partition("/")
        if word == "bytes":
            await self._stream(writer, int(argument), 0)
        elif word == "drip":
            query = {key: values[-1] for key, values in parse_qs(url.query).items()}
            await self._stream(writer, int(query.get("bytes", "1000")), float(query.get("seconds", "5")))
        elif word == "status":
            self._whole(writer, b"", int(argument))
        elif word in ("get", "delay"):
            await asyncio.sleep(min(float(argument or 0), 60))
            origin = writer.get_extra_info("peername")[0]
            self._whole(writer, json.dumps({"origin": origin, "url": target}).encode())
        else:
            self._file(writer, url.path)

    def _file(self, writer: asyncio.StreamWriter, path: str) -> None:
        file = self._www / Path(path).name
        if file.is_file():
            self._whole(writer, file.read_bytes())
        else:
            self._whole(writer, b"no such page\n", 404)

    def _whole(self, writer: asyncio.StreamWriter, body: bytes, status: int = 200) -> None:
        self._head(writer, len(body), status)
        writer.write(body)

    def _head(self, writer: asyncio.StreamWriter, length: int, status: int = 200) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode())

    async def _stream(self, writer: asyncio.StreamWriter, size: int, seconds: float) -> None:
        """Send the body in blocks, evenly over so many seconds."""
        self._head(writer, size)
        block = size // 10 + 1 if seconds else len(_BLOCK)
        for sent in range(0, size, block):
            writer.write((_BLOCK * (block // len(_BLOCK) + 1))[: min(block, size - sent)])
            await writer.drain()
            await asyncio.sleep(seconds / 10)


async def main(*, web: str, names: str, silent: str, www: str, relay: int, wireguard: int) -> None:
    """Listen everywhere, then obey."""
    loop = asyncio.get_running_loop()
    way = Relay(("0.0.0.0", relay), ("127.0.0.1", wireguard))
    await asyncio.start_server(Web(Path(www)).serve, web, 80)
    await loop.create_datagram_endpoint(lambda: Names(web, silent), local_addr=(names, 53))
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ready", flush=True)
    while line := await orders.readline():
        way.weather = Weather(**json.loads(line))
        print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
