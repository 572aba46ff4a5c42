"""A proxy that does whatever a script says, and plays the target behind it too.

    def script(talk: Talk) -> None:
        talk.greet()
        talk.reply(5)                       # connection refused

    with faulty(script) as port: ...

Each connection has a thread, so a script just sleeps to delay what comes next. A script that ends closes
the connection in good order; `talk.reset()` does it in bad order.
"""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_LINGER = struct.pack("ii", 1, 0)
_NO_LOGIN, _PASSWORD, _NOTHING_SUITS = 0, 2, 255


@dataclass
class Talk:
    """One connection.

    Attributes:
        wire: The socket, wrapped in TLS once that is established.
        destination: What the client asked for, as bytes of the request.
    """

    wire: socket.socket
    destination: bytes = b""

    def greet(self, reply: bytes = b"\x05\x00") -> bytes:
        """Read the greeting, answer it; the ways of logging in that the client offers."""
        _, count = self.read(2)
        methods = self.read(count)
        self.send(reply)
        return methods

    def login(self, reply: bytes = b"\x01\x00") -> tuple[bytes, bytes]:
        """Read user and password (RFC 1929), answer them."""
        _, length = self.read(2)
        user = self.read(length)
        password = self.read(self.read(1)[0])
        self.send(reply)
        return user, password

    def request(self) -> bytes:
        """Read a CONNECT; address and port as they came."""
        kind = self.read(4)[3]
        length = {1: 4, 4: 16}.get(kind) or self.read(1)[0]
        self.destination = self.read(length + 2)
        return self.destination

    def reply(self, code: int = 0) -> None:
        """Read a CONNECT, answer it."""
        self.request()
        self.send(bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)))

    def open(self) -> None:
        """Both, in good order."""
        self.greet()
        self.reply()

    def secure(self, context: ssl.SSLContext) -> None:
        """Shake hands as the target."""
        self.wire = context.wrap_socket(self.wire, server_side=True)

    def head(self) -> bytes:
        """Read an HTTP request."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.wire.recv(4096)
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def answer(self, body: bytes = b"hello", status: str = "200 OK", length: int | None = None) -> None:
        """Read a request, answer it; the length may lie."""
        self.head()
        self.send(self.top(status, len(body) if length is None else length) + body)

    @staticmethod
    def top(status: str, length: int, more: str = "") -> bytes:
        """The lines before the body."""
        return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n".encode()

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        data = b""
        while len(data) < size:
            chunk = self.wire.recv(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def send(self, data: bytes) -> None:
        """All of it."""
        self.wire.sendall(data)

    def hang(self) -> None:
        """Say nothing until the client goes."""
        with suppress(OSError):
            while self.wire.recv(4096):
                pass

    def reset(self) -> None:
        """Close with RST."""
        self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self.wire.close()


Script = Callable[[Talk], None]


@contextmanager
def faulty(script: Script, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve by script until the block ends; the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, 0))
        listener.listen(1024)
        thread = threading.Thread(target=_accept, args=(listener, script), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@dataclass(frozen=True)
class Delays:
    """A proxy and target in good order, but slow: seconds before each step."""

    greeting: float = 0.0
    reply: float = 0.0
    tls: float = 0.0
    first_byte: float = 0.0
    body: float = 0.0

    def script(self, context: ssl.SSLContext | None) -> Script:
        """The script, with TLS at the target or without."""

        def play(talk: Talk) -> None:
            time.sleep(self.greeting)
            talk.greet()
            time.sleep(self.reply)
            talk.reply()
            if context:
                time.sleep(self.tls)
                talk.secure(context)
            talk.head()
            time.sleep(self.first_byte)
            talk.send(talk.top("200 OK", 5))
            time.sleep(self.body)
            talk.send(b"hello")

        return play


def _accept(listener: socket.socket, script: Script) -> None:
    with suppress(OSError):
        while True:
            wire, _ = listener.accept()
            threading.Thread(target=_serve, args=(wire, script), daemon=True).start()


def _serve(wire: socket.socket, script: Script) -> None:
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    talk = Talk(wire)
    with suppress(OSError, EOFError):
        script(talk)
    with suppress(OSError):
        talk.wire.close()
