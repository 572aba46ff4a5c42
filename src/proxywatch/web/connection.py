"""One client's connection: bytes to requests by httptools, responses to bytes, bounds on both.

Requests are answered one at a time. What one client can make us hold: the head of one request, one read of
the server's buffer (4 KiB) that is not taken apart yet, and the one response that went over the transport's
own mark. However the bytes arrive, the parser is given none of a request beyond the limit, and none of the
next request together with it; so the size of each is known to the byte.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from proxywatch.net.limits import Waiting
from proxywatch.net.tls import Channel
from proxywatch.web.message import Request, Response, refuse

if TYPE_CHECKING:
    from proxywatch.web.server import Server

log = logging.getLogger(__name__)

_CLOSE = b"connection: close\r\n"
_END = b"\r\n"
_END_OF_HEAD = b"\n\r\n"  # its own "\r\n", after that of a line or, in HTTP/0.9, a bare "\n"
_HEARD = 512 << 10  # what is swallowed of a client that goes on after a refusal
_TURN = 16  # requests of one client in a row; then the others have a turn
_MALFORMED = refuse(400, "this is not a request of HTTP/1.1 or 1.0")
_LONG_LINE = refuse(414, "the address is longer than this server reads")
_LARGE_HEAD = refuse(431, "the request is larger than this server reads")
_LARGE_BODY = refuse(413, "the body is larger than this server reads")
_TOO_SLOW = refuse(408, "the request took too long to arrive")
_FAILED = refuse(500, "an error of this server; its log says more")


class Connection(asyncio.BufferedProtocol):
    """One client; its server keeps the time, and calls `expire` when it is up."""

    __slots__ = (
        "_body", "_book", "_busy", "_closing", "_excess", "_fed", "_headers", "_parser", "_partial",
        "_paused", "_refusal", "_request", "_rest", "_server", "_target", "_tls", "_transport",
    )  # fmt: skip

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._book: Waiting[Connection] | None = None
        self._tls: Channel | None = None
        self._parser: Any = None
        self._rest = self._target = b""
        self._request: Request | None = None
        self._headers: dict[bytes, bytes] = {}
        self._fed = self._body = 0
        self._excess = _LARGE_HEAD
        self._refusal: Response | None = None
        self._partial = self._busy = self._paused = self._closing = False

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self._transport = cast("asyncio.Transport", transport)
        self._tls = self._server.channel()
        self._server.opened(self)
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the reason
        """It has gone."""
        self._closing = True
        self._parser = self._tls = None
        self._rest = b""
        self._wait(None)
        self._server.closed(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - as much as we want at once
        """Where to put what has come: one place for all, as it is taken out at once."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take in what has come, then answer what is complete."""
        if self._closing:
            self._fed += nbytes
            if self._fed > _HEARD:
                self.drop()
            return
        data = bytes(self._server.buffer[:nbytes])
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
            self._closing |= self._tls.ended
        self._rest = self._rest + data if self._rest else data
        self._advance()

    def eof_received(self) -> None:
        """The client sends no more; what it had asked for is answered, as we read on only after that."""
        self._closing = True

    def pause_writing(self) -> None:
        """The client takes more slowly than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        self._advance()

    # The parser's calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._partial = True
        self._target = b""
        self._headers = {}
        self._excess = _LONG_LINE

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """One header, whole."""
        name = name.lower()
        before = self._headers.get(name)
        self._headers[name] = (value or b"") if before is None else before + b", " + (value or b"")

    def on_headers_complete(self) -> None:
        """The last byte of a head."""
        self._excess = _LARGE_BODY
        self._body = int(self._headers.get(b"content-length", 0))

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        parser = self._parser
        request = Request(
            parser.get_method().decode("latin-1"),
            self._target,
            self._headers,
            keep_alive=parser.should_keep_alive(),
        )
        self._request = request
        self._partial = False
        self._fed = self._body = 0
        self._excess = _LARGE_HEAD
        self._wait(None)
        if not request.keep_alive:
            self._closing = True
            self._rest = b""

    # The way of a request.

    def _decrypt(self, tls: Channel, data: bytes) -> bytes:
        try:
            clear = tls.receive(data)
        except ssl.SSLError as error:
            log.debug("TLS refused", extra={"reason": error.reason or str(error)})
            clear = b""
            self._closing = True
        if answer := tls.pending():
            self._transport.write(answer)
        return clear

    def _advance(self) -> None:
        """Answer what is complete, one request after the other."""
        for _ in range(_TURN):
            request = None if self._busy or self._paused else self._next()
            if request is None:
                break
            answer = self._server.answer(request)
            if isinstance(answer, Response):
                self._send(request, answer)
            else:
                self._busy = True
                self._server.spawn(self._finish(request, answer))
        else:
            self._busy = True
            self._server.later(self._take_turn)
        self._settle()

    def _take_turn(self) -> None:
        self._busy = False
        self._advance()

    def _next(self) -> Request | None:
        """Take the rest apart up to the end of a request; None when that is still to come."""
        while self._rest and self._request is None:
            if self._fed >= self._server.limits.request_size:
                self._refuse(self._excess)
            else:
                self._parse(self._piece())
        request, self._request = self._request, None
        return request

    def _piece(self) -> bytes:
        """What may be parsed next: nothing beyond the limit, nor beyond the end of a request.

        That is the end of a line, or of a body whose length was told.
        """
        rest = self._rest
        room = self._server.limits.request_size - self._fed
        if not self._fed and rest.find(_END_OF_HEAD) + len(_END_OF_HEAD) == len(rest) <= room:
            length = len(rest)  # one whole head, as nearly always
        elif self._body:
            length = min(self._body, room)
        else:
            length = min(rest.find(b"\n") + 1 or len(rest), room)
        piece, self._rest = rest[:length], rest[length:]
        return piece

    def _parse(self, piece: bytes) -> None:
        if self._parser is None:
            self._parser = HttpRequestParser(self)
        self._fed += len(piece)
        self._body = max(self._body - len(piece), 0)
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade:
            self._closing = True
            self._rest = b""
        except HttpParserError:
            self._refuse(_MALFORMED)
        if self._excess is _LONG_LINE and piece.endswith(b"\n"):
            self._excess = _LARGE_HEAD
        elif self._body > self._server.limits.request_size - self._fed:
            self._refuse(_LARGE_BODY)

    def _refuse(self, response: Response) -> None:
        self._rest = b""
        if self._refusal is None:
            self._closing = True
            self._partial = False
            self._body = 0
            self._refusal = response

    async def _finish(self, request: Request, answer: Awaitable[Response]) -> None:
        try:
            response = await answer
        except Exception:
            log.exception("request failed", extra={"path": request.path})
            response = _FAILED
        self._busy = False
        if not self._transport.is_closing():
            self._send(request, response)
            self._advance()

    def _send(self, request: Request, response: Response) -> None:
        last = self._closing and not self._rest
        server = self._server
        head = b"".join((response.head, server.headers, _CLOSE if last else b"", _END))
        if request.method == "HEAD":
            self._write(head)
        elif self._tls is None:
            self._transport.writelines((head, response.body))
        else:
            self._write(head + response.body)

    def _write(self, data: bytes) -> None:
        self._transport.write(data if self._tls is None else self._tls.send(data))

    # Where it stands, and until when.

    def _settle(self) -> None:
        """Enter the book of the state that the connection is in now."""
        books = self._server.books
        if self._transport.is_closing():
            self._wait(None)
        elif self._busy or self._rest:
            self._transport.pause_reading()
            self._wait(books.writing if self._paused else None)
        elif self._closing:
            self._leave()
        else:
            self._transport.resume_reading()
            tls = self._tls
            partial = self._partial or (tls is not None and not tls.established)
            if not partial:
                # Half of the objects, which the garbage collector would visit while the client is idle.
                self._parser = None
            self._wait(books.writing if self._paused else books.reading if partial else books.idle)

    def _leave(self) -> None:
        """Close; after a refusal the client does so first, as unread input would make the kernel drop it."""
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            self._write(refusal.head + self._server.headers + _CLOSE + _END + refusal.body)
        if self._tls is not None:
            if self._tls.established:
                self._transport.write(self._tls.farewell())
            self._transport.close()
        elif refusal is not None:
            self._transport.write_eof()
            self._wait(self._server.books.leaving)
        elif self._book is not self._server.books.leaving:
            self._transport.close()

    def _wait(self, book: "Waiting[Connection] | None") -> None:
        if book is self._book:
            return
        if self._book is not None:
            self._book.discard(self)
        self._book = book
        if book is not None:
            book.add(self, self._server.now())

    def expire(self) -> None:
        """The time of the present state is up, or its place is needed."""
        book, self._book = self._book, None
        if book is self._server.books.reading and self._tls is None:
            self._refuse(_TOO_SLOW)
            self._settle()
        else:
            self.drop()

    def finish(self) -> None:
        """The server ends: close once the requests that are here have their answers."""
        self._closing = True
        self._settle()

    def drop(self) -> None:
        """Close without waiting for anything."""
        if self._book is not None:
            self._book.discard(self)
            self._book = None
        self._closing = True
        self._rest = b""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()
