"""A resolver asked over one kept connection, by TCP (RFC 7766) or TLS (RFC 7858).

Queries are pipelined; answers come in any order. A connection on which something came that cannot be matched
is closed: from there on, nothing on it can be trusted.
"""

import asyncio
import ssl
from asyncio import Future, StreamReader, StreamWriter, TaskGroup
from collections.abc import Callable
from random import Random

from proxywatch.dns import message
from proxywatch.dns.message import Question, Response
from proxywatch.dns.upstream.base import UpstreamError, failure
from proxywatch.dns.upstream.dialer import Dialer
from proxywatch.errors import ParseError

_IDLE = 10.0
_PIPELINED = 1000


class Tls:
    """How a connection is secured."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        """Name the peer.

        Args:
            context: With the authorities to trust, and the protocols to offer.
            name: The name that the certificate must carry.
        """
        self.context = context
        self.name = name


async def secured(reader: StreamReader, writer: StreamWriter, tls: Tls) -> None:
    """Start TLS on a connection.

    Raises:
        UpstreamError: Refused, or the certificate is not the resolver's.
    """
    try:
        await writer.start_tls(tls.context, server_hostname=tls.name)
        reader._transport = writer.transport  # type: ignore[attr-defined]  # noqa: SLF001 - start_tls forgets it
    except ssl.SSLCertVerificationError as error:
        writer.transport.abort()
        raise UpstreamError("tls", f"its certificate: {error.verify_message}") from None
    except (ssl.SSLError, ConnectionError) as error:
        writer.transport.abort()
        raise UpstreamError("tls", f"TLS: {getattr(error, 'reason', None) or 'closed'}") from None
    except BaseException:
        writer.transport.abort()
        raise


class Stream:
    """One resolver.

    Attributes:
        mismatched: Messages that were not an answer to any query that was asked.
    """

    def __init__(
        self,
        name: str,
        place: tuple[str, int],
        dialer: Dialer,
        group: TaskGroup,
        dice: Random,
        *,
        tls: Tls | None = None,
    ) -> None:
        """Name the resolver.

        Args:
            name: As in the settings.
            place: Its host and port.
            dialer: Opens connections.
            group: Where connections are read.
            dice: For the ids.
            tls: How to secure connections; None for not at all.
        """
        self.name = name
        self.mismatched = 0
        self._place = place
        self._dialer = dialer
        self._group = group
        self._dice = dice
        self._tls = tls
        self._opening = asyncio.Lock()
        self._connection: _Connection | None = None

    async def ask(self, question: Question) -> Response:
        """Ask over the kept connection; one that turns out to be closed is opened anew, once."""
        kept = self._connection is not None and self._connection.usable
        connection = await self._connected()
        try:
            return await connection.ask(question)
        except UpstreamError as error:
            if error.reason != "closed" or not kept:
                raise
        return await (await self._connected()).ask(question)

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    async def _connected(self) -> "_Connection":
        async with self._opening:
            if self._connection is None or not self._connection.usable:
                reader, writer = await self._dialer.open_stream(*self._place)
                if self._tls is not None:
                    await secured(reader, writer, self._tls)
                self._connection = _Connection(reader, writer, self._dice, self._count)
                self._group.create_task(self._connection.read(), name=f"dns upstream {self.name}")
            return self._connection

    def _count(self) -> None:
        self.mismatched += 1


class _Connection:
    def __init__(
        self, reader: StreamReader, writer: StreamWriter, dice: Random, mismatched: Callable[[], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._dice = dice
        self._mismatched = mismatched
        self._waiting: dict[int, tuple[Question, Future[Response] | None]] = {}
        self._heard = 0
        self._ended = False

    @property
    def usable(self) -> bool:
        return not self._ended and not self._writer.is_closing()

    async def ask(self, question: Question) -> Response:
        if len(self._waiting) >= _PIPELINED:
            raise UpstreamError("local", "too many queries wait for one connection")
        ident = self._dice.getrandbits(16)
        while ident in self._waiting:
            ident = self._dice.getrandbits(16)
        future: Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = question, future
        wire = message.build_query(ident, question)
        self._writer.write(len(wire).to_bytes(2, "big") + wire)
        heard = self._heard
        try:
            return await future
        except asyncio.CancelledError:
            if heard == self._heard:
                self.close()  # not a sound since: the way is dead, and the next query had better open another
            elif ident in self._waiting:
                self._waiting[ident] = question, None  # its answer may still come, and is not a stranger's
            raise

    async def read(self) -> None:
        """Hand out answers until the connection ends, or is idle for too long."""
        reason = UpstreamError("closed", "it closed the connection")
        try:
            while True:
                async with asyncio.timeout(_IDLE):
                    size = int.from_bytes(await self._reader.readexactly(2), "big")
                    wire = await self._reader.readexactly(size)
                self._hand_out(wire)
        except (asyncio.IncompleteReadError, TimeoutError):
            pass
        except ParseError as error:
            reason = UpstreamError("malformed", str(error))
        except OSError as error:
            reason = failure(error)
        finally:
            self.close(reason)

    def _hand_out(self, wire: bytes) -> None:
        ident = int.from_bytes(wire[:2], "big")
        question, future = self._waiting.get(ident, (None, None))
        if question is None or not message.answers(wire, ident, question):
            self._mismatched()
            raise ParseError("it answered what was not asked")
        del self._waiting[ident]
        self._heard += 1
        response = message.parse_response(wire, question)
        if future is not None and not future.done():
            future.set_result(response)

    def close(self, reason: UpstreamError | None = None) -> None:
        """End it, and everybody's waiting."""
        self._ended = True
        self._writer.transport.abort()
        reason = reason or UpstreamError("closed", "the connection was dead")
        for _, future in self._waiting.values():
            if future is not None and not future.done():
                future.set_exception(reason)
        self._waiting.clear()
