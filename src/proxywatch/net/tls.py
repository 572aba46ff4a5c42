"""TLS between bytes and bytes: no socket, so that the limits of a connection hold from its first byte on."""

import socket
import ssl
from contextlib import suppress
from typing import Any

_CHUNK = 64 << 10


class Channel:
    """The server's side of one TLS connection.

    Attributes:
        begun: Whether the client has sent anything.
        established: Whether the handshake is done.
        ended: Whether the client has declared that it sends no more.
    """

    __slots__ = ("_allowed", "_incoming", "_object", "_outgoing", "begun", "ended", "established")

    def __init__(self, context: ssl.SSLContext, allowed: frozenset[str] = frozenset()) -> None:
        """Await the client's hello.

        Args:
            context: The server's.
            allowed: Names of which the client's certificate must carry one; empty for any.
        """
        self._allowed = allowed
        self.begun = self.established = self.ended = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @property
    def buffered(self) -> int:
        """Bytes that wait in either direction."""
        return self._incoming.pending + self._outgoing.pending

    def receive(self, data: bytes) -> bytes:
        """What the client said, in clear.

        Raises:
            ssl.SSLError: Not TLS, or not a client that we serve.
        """
        self.begun = True
        self._incoming.write(data)
        clear = []
        try:
            if not self.established:
                self._object.do_handshake()
                self._admit()
                self.established = True
            while chunk := self._object.read(_CHUNK):
                clear.append(chunk)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        return b"".join(clear)

    def send(self, data: bytes) -> bytes:
        """The same for the wire."""
        self._object.write(data)
        return self._outgoing.read()

    def pending(self) -> bytes:
        """What TLS itself has to say: its part of a handshake, an alert."""
        return self._outgoing.read()

    def farewell(self) -> bytes:
        """Say that no more comes, so that the client knows that nothing was cut off."""
        with suppress(ssl.SSLError):
            self._object.unwrap()
        return self._outgoing.read()

    def _admit(self) -> None:
        if not self._allowed:
            return
        certificate: dict[str, Any] = self._object.getpeercert() or {}
        if not certificate and self._object.context.verify_mode is ssl.CERT_OPTIONAL:
            return
        names = {_plain(kind, value) for kind, value in certificate.get("subjectAltName", ())}
        if not names & self._allowed:
            raise ssl.SSLError("no allowed name in the client's certificate")


def _plain(kind: str, value: str) -> str:
    """A name as people write it: OpenSSL writes IPv6 addresses in full."""
    if kind == "IP Address" and ":" in value:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, value.strip()))
    return str(value)
