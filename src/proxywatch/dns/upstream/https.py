"""A resolver asked over HTTP/2 with TLS (RFC 8484), by POST, over one kept connection.

HTTP/1.1 is not spoken: public resolvers take HTTP/2, and some nothing else.
"""

import asyncio
from asyncio import Future, StreamReader, StreamWriter, TaskGroup

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError

from proxywatch.dns import message
from proxywatch.dns.message import Question, Response
from proxywatch.dns.upstream.base import UpstreamError, failure
from proxywatch.dns.upstream.dialer import Dialer
from proxywatch.dns.upstream.stream import Tls, secured
from proxywatch.errors import ParseError

KIND = "application/dns-message"
_IDLE = 30.0
_READ = 64 << 10


class Https:
    """One resolver."""

    def __init__(
        self, name: str, place: tuple[str, int], path: str, dialer: Dialer, *, group: TaskGroup, tls: Tls
    ) -> None:
        """Name the resolver.

        Args:
            name: As in the settings.
            place: Its host and port.
            path: The path of its service.
            dialer: Opens connections.
            group: Where connections are read.
            tls: How to secure them; offers `h2`.
        """
        self.name = name
        self.mismatched = 0
        self._place = place
        self._path = path
        self._dialer = dialer
        self._group = group
        self._tls = tls
        self._opening = asyncio.Lock()
        self._connection: _Connection | None = None

    async def ask(self, question: Question) -> Response:
        """Ask over the kept connection; one that turns out to be closed is opened anew, once."""
        kept = self._connection is not None and self._connection.usable
        try:
            body = await self._post(message.build_query(0, question))
        except UpstreamError as error:
            if error.reason != "closed" or not kept:
                raise
            body = await self._post(message.build_query(0, question))
        if not message.answers(body, 0, question):
            self.mismatched += 1
            raise UpstreamError("malformed", "it answered what was not asked")
        try:
            return message.parse_response(body, question)
        except ParseError as error:
            raise UpstreamError("malformed", str(error)) from None

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    async def _post(self, wire: bytes) -> bytes:
        connection = await self._connected()
        authority = self._tls.name if self._place[1] == 443 else f"{self._tls.name}:{self._place[1]}"  # noqa: PLR2004
        head = [
            (":method", "POST"), (":scheme", "https"), (":authority", authority), (":path", self._path),
            ("accept", KIND), ("content-type", KIND), ("content-length", str(len(wire))),
        ]  # fmt: skip
        return await connection.post(head, wire)

    async def _connected(self) -> "_Connection":
        async with self._opening:
            if self._connection is None or not self._connection.usable:
                reader, writer = await self._dialer.open_stream(*self._place)
                await secured(reader, writer, self._tls)
                if (
                    chosen := writer.get_extra_info("ssl_object")
                ) is None or chosen.selected_alpn_protocol() != "h2":
                    writer.transport.abort()
                    raise UpstreamError("protocol", "it does not speak HTTP/2")
                self._connection = _Connection(reader, writer)
                self._group.create_task(self._connection.read(), name=f"dns upstream {self.name}")
            return self._connection


class _Exchange:
    def __init__(self) -> None:
        self.future: Future[bytes] = asyncio.get_running_loop().create_future()
        self.body = bytearray()


class _Connection:
    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._http.initiate_connection()
        self._exchanges: dict[int, _Exchange] = {}
        self._heard = 0
        self._ended = False
        self._flush()

    @property
    def usable(self) -> bool:
        return not self._ended and not self._writer.is_closing()

    async def post(self, head: list[tuple[str, str]], body: bytes) -> bytes:
        exchange, heard = _Exchange(), self._heard
        try:
            stream = self._http.get_next_available_stream_id()
            self._http.send_headers(stream, head)
            self._http.send_data(stream, body, end_stream=True)
        except ProtocolError:  # too many streams, or none left, or no window
            self.close()
            raise UpstreamError("closed", "the connection takes no more requests") from None
        self._exchanges[stream] = exchange
        self._flush()
        try:
            return await exchange.future
        except asyncio.CancelledError:
            if heard == self._heard:
                self.close()  # not a sound since: the way is dead
            raise
        finally:
            if self._exchanges.pop(stream, None) and not exchange.future.done() and self.usable:
                self._http.reset_stream(stream)
                self._flush()

    async def read(self) -> None:
        """Take responses apart until the connection ends, or is idle for too long."""
        reason = UpstreamError("closed", "it closed the connection")
        try:
            while not self._ended:
                async with asyncio.timeout(_IDLE):
                    data = await self._reader.read(_READ)
                if not data:
                    break
                self._heard += 1
                for event in self._http.receive_data(data):
                    self._take(event)
                self._flush()
        except TimeoutError:
            pass
        except ProtocolError:
            reason = UpstreamError("protocol", "its HTTP/2 is malformed")
        except OSError as error:
            reason = failure(error)
        finally:
            self.close(reason)

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self._ended = True
            return
        if isinstance(event, DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        exchange = self._exchanges.get(getattr(event, "stream_id", None) or 0)
        if exchange is None or exchange.future.done():
            return
        match event:
            case ResponseReceived():
                head = {str(name): str(value) for name, value in event.headers or ()}
                if head.get(":status") != "200" or head.get("content-type") != KIND:
                    exchange.future.set_exception(
                        UpstreamError(
                            "protocol", f"HTTP status {head.get(':status', '')[:3]}, or no DNS message"
                        )
                    )
            case DataReceived():
                exchange.body += event.data or b""
                if len(exchange.body) > message.LARGEST:
                    exchange.future.set_exception(UpstreamError("malformed", "larger than a DNS message"))
            case StreamEnded():
                exchange.future.set_result(bytes(exchange.body))
            case StreamReset():
                exchange.future.set_exception(UpstreamError("closed", "it gave up the request"))
            case _:
                pass

    def _flush(self) -> None:
        if data := self._http.data_to_send():
            self._writer.write(data)

    def close(self, reason: UpstreamError | None = None) -> None:
        """End it, and everybody's waiting."""
        self._ended = True
        self._writer.transport.abort()
        reason = reason or UpstreamError("closed", "the connection was dead")
        for exchange in self._exchanges.values():
            if not exchange.future.done():
                exchange.future.set_exception(reason)
        self._exchanges.clear()
