"""Clients that ask by TCP (RFC 7766): queries pipelined, replies in the order in which they are ready."""

import asyncio
import socket
from asyncio import Semaphore, StreamReader, StreamWriter, TaskGroup
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from proxywatch.dns.answer import Handler
from proxywatch.dns.message import HEADER_SIZE


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may cost.

    Attributes:
        connections: Open at once.
        per_client: Of one client, open at once.
        pipelined: Queries of a connection that are answered at once; more are not read.
        query: Bytes of a query.
        idle: Seconds between two queries.
        reading: Seconds from a query's length to its last byte.
        writing: Seconds for a client to take a reply.
        unsent: Bytes of replies that wait for clients, of all of them.
    """

    connections: int = 500
    per_client: int = 100
    pipelined: int = 16
    query: int = 4096
    idle: float = 10.0
    reading: float = 5.0
    writing: float = 10.0
    unsent: int = 32 << 20


class TcpServer:
    """Accepts connections and answers what comes over them.

    Attributes:
        refused: Connections that were over a limit.
    """

    def __init__(self, handler: Handler, group: TaskGroup, limits: Limits) -> None:
        """Be handed who answers, where that happens, and what clients may cost."""
        self.refused = 0
        self._handler = handler
        self._group = group
        self._limits = limits
        self._servers: list[asyncio.Server] = []
        self._clients: Counter[str] = Counter()
        self._writers: set[StreamWriter] = set()
        self._unsent = 0

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [sock.getsockname()[:2] for server in self._servers for sock in server.sockets]

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._writers)

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a bound socket from now on."""
        self._servers.append(
            await asyncio.start_server(self._accepted, sock=sock, limit=2 * self._limits.query)
        )

    def close(self) -> None:
        """Stop listening, and drop the clients."""
        for server in self._servers:
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    def _accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        client = (writer.get_extra_info("peername") or ("",))[0]
        limits = self._limits
        if len(self._writers) >= limits.connections or self._clients[client] >= limits.per_client:
            self.refused += 1
            writer.transport.abort()
            return
        self._writers.add(writer)
        self._clients[client] += 1
        self._group.create_task(self._serve(reader, writer, client), name="dns client")

    async def _serve(self, reader: StreamReader, writer: StreamWriter, client: str) -> None:
        room = Semaphore(self._limits.pipelined)
        try:
            async with TaskGroup() as queries:
                while (query := await self._next(reader, room)) is not None:
                    queries.create_task(self._answer(query, writer, client, room))
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(self._limits.writing):
                    writer.close()
                    await writer.wait_closed()
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    async def _next(self, reader: StreamReader, room: Semaphore) -> bytes | None:
        """The next query; None when there is no other, or it is late or malformed."""
        await room.acquire()
        try:
            async with asyncio.timeout(self._limits.idle):
                size = int.from_bytes(await reader.readexactly(2), "big")
            if not HEADER_SIZE <= size <= self._limits.query:
                return None
            async with asyncio.timeout(self._limits.reading):
                return await reader.readexactly(size)
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            return None

    async def _answer(self, query: bytes, writer: StreamWriter, client: str, room: Semaphore) -> None:
        try:
            answer = await self._handler.answer(query, "tcp", client)
            if answer.wire and not writer.is_closing():
                await self._write(writer, answer.wire)
        except (TimeoutError, OSError):
            writer.transport.abort()
        finally:
            room.release()

    async def _write(self, writer: StreamWriter, wire: bytes) -> None:
        if self._unsent + len(wire) > self._limits.unsent:
            raise TimeoutError
        self._unsent += len(wire)
        try:
            async with asyncio.timeout(self._limits.writing):
                writer.write(len(wire).to_bytes(2, "big") + wire)
                await writer.drain()
        finally:
            self._unsent -= len(wire)
