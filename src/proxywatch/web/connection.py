"""One client's connection as a table of states.

    state       reads  until                 then    means
    LEAVING     yes    leave_time            drop    refused; what still comes is discarded, up to 512 KiB
    CLOSING     no     write_time            drop    closed; the transport writes what is left
    IDLE        yes    idle_time             drop    nothing of a request is here
    HANDSHAKE   yes    request_time          drop    TLS is not established
    HEAD        yes    request_time          408     a part of a head is here
    BODY        yes    request_time          408     the head is here, a part of its body is missing
    WRITING     no     write_time            drop    the client reads more slowly than we write
    ANSWERING   no     -                     -       the handler works on the request
    CLOSED      no     -                     -       gone

Rules:

- When there are too many connections, one goes: of the first state in the table that has any, the oldest.
- Bytes that arrive are only stored. All work on them (TLS, parsing, answering) is done in `work()`, one step
  at a time, while the server's present turn has room; a connection that waits for a turn does not read.
- Requests are answered one at a time, in order. A state is entered by `_settle()`, after the work of a turn.
- A head is stored as it came and parsed once, when it is complete. So an unfinished request holds its bytes
  and nothing else. A body is skipped as it arrives.
- Entering a state starts its time; staying in it does not start it again, so a request that trickles in is
  late whatever trickles.
- After a refusal the client closes first, as unread input would make the kernel drop our response.
- What the connection holds is charged to the server's budget whenever it settles.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, cast

from proxywatch.net.tls import Channel
from proxywatch.web import head, held
from proxywatch.web.message import HttpRequest, Response, refuse

if TYPE_CHECKING:
    from proxywatch.web.server import WebServer

log = logging.getLogger(__name__)


class State(Enum):
    """Where a connection stands."""

    LEAVING = auto()
    CLOSING = auto()
    IDLE = auto()
    HANDSHAKE = auto()
    HEAD = auto()
    BODY = auto()
    WRITING = auto()
    ANSWERING = auto()
    CLOSED = auto()


class Rule(NamedTuple):
    """What holds in a state: whether we read, which of the limits ends it, whether with a response."""

    reads: bool
    time: str = ""
    refuses: bool = False


RULES = {
    State.LEAVING: Rule(reads=True, time="leave_time"),
    State.CLOSING: Rule(reads=False, time="write_time"),
    State.IDLE: Rule(reads=True, time="idle_time"),
    State.HANDSHAKE: Rule(reads=True, time="request_time"),
    State.HEAD: Rule(reads=True, time="request_time", refuses=True),
    State.BODY: Rule(reads=True, time="request_time", refuses=True),
    State.WRITING: Rule(reads=False, time="write_time"),
    State.ANSWERING: Rule(reads=False),
    State.CLOSED: Rule(reads=False),
}

_CLOSE = b"connection: close\r\n"
_KEEP = b"connection: keep-alive\r\n"
_END = b"\r\n"
_CR = 13
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_DISCARDED = 512 << 10  # of a client that goes on after a refusal
_IN_A_ROW = 16  # requests of one client; then the others have a turn
_SOCKET = 128 << 10  # bytes that the kernel may hold for a client that does not read

_TOO_SLOW = refuse(408, "the request took too long to arrive")
_FAILED = refuse(500, "an error of this server; its log has details")


class HttpConnection(asyncio.BufferedProtocol):
    """One client; its server keeps the time, and calls `expire` when it is up."""

    __slots__ = (
        "_arrived", "_blank", "_last", "_missing", "_paused", "_queued", "_reading", "_request",
        "_rest", "_scanned", "_server", "_tls", "_transport", "_unread", "state",
    )  # fmt: skip

    def __init__(self, server: "WebServer") -> None:
        self._server = server
        self._tls: Channel | None = None
        self._arrived = self._rest = b""  # as it came, and as it reads after TLS
        self._request: HttpRequest | None = None  # the one whose body or answer is due
        self._blank = self._scanned = self._missing = self._unread = 0
        self._last = self._paused = self._queued = False
        self._reading = True
        self.state = State.CLOSED

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with a new client."""
        self._transport = cast("asyncio.Transport", transport)
        self._tls = self._server.channel()
        self._server.opened(self)
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever the reason
        """Forget everything."""
        self._enter(State.CLOSED)
        self._tls = self._request = None
        self._arrived = self._rest = b""
        self._server.closed(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - as much as we want at once
        """Return the buffer that all connections share, as it is emptied at once."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Store what has come, and work on it if there is room in this turn."""
        if self.state is State.LEAVING:
            self._scanned += nbytes
            if self._scanned > _DISCARDED:
                self.drop()
        elif self.state is not State.CLOSED:
            data = bytes(self._server.buffer[:nbytes])
            self._arrived = self._arrived + data if self._arrived else data
        if not self._queued and not self._server.turns.offer(self):
            self._wait_for_turn()

    def eof_received(self) -> bool:
        """The client sends no more; what it asked for before is answered."""
        self._last = True
        if self.state is State.LEAVING:
            self._enter(State.CLOSING)
            self._close()
        elif not self._queued:
            self._settle()
        return True

    def pause_writing(self) -> None:
        """The client takes more slowly than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self.state is State.WRITING and not self._queued and not self._server.turns.offer(self):
            self._wait_for_turn()

    # The work of a turn.

    def work(self) -> None:
        """Make one step after the other while there is room in the turn."""
        self._queued = False
        if self.state in (State.CLOSED, State.CLOSING):
            return
        if self.state is not State.LEAVING:
            self._receive()
            steps = 0
            while self._step():
                steps += 1
                if not self._server.turns.step() or steps == _IN_A_ROW:
                    self._server.turns.wait(self)
                    self._wait_for_turn()
                    break
        self._settle()

    def _wait_for_turn(self) -> None:
        self._queued = True
        self._read(wanted=False)
        self._account()

    def _receive(self) -> None:
        """Take what has arrived out of TLS, where there is any."""
        data, self._arrived = self._arrived, b""
        if self._tls is not None and data:
            data = self._decrypt(self._tls, data)
            self._last |= self._tls.ended
        self._rest = self._rest + data if self._rest else data

    def _decrypt(self, tls: Channel, data: bytes) -> bytes:
        try:
            clear = tls.receive(data)
        except ssl.SSLError as error:
            log.debug("TLS refused", extra={"reason": error.reason or str(error)})
            clear = b""
            self._last = True
        if answer := tls.pending():
            self._transport.write(answer)
        return clear

    def _step(self) -> bool:
        """Answer one request, if it is complete; returns whether there may be another."""
        if self._paused or self.state in (State.ANSWERING, State.LEAVING):
            return False
        if self._request is None and not self._find_head():
            return False
        if self._missing:
            skipped = min(self._missing, len(self._rest))
            self._rest = self._rest[skipped:]
            self._missing -= skipped
            if self._missing:
                return False
        request, self._request = self._request, None
        if request is not None:
            self._answer(request)
        return not self._transport.is_closing()

    def _find_head(self) -> bool:
        """Parse the head if its end is here; else refuse what cannot become one that is served."""
        rest = self._rest
        if not self._scanned and rest[:1] in (b"\r", b"\n"):
            self._rest = rest.lstrip(b"\r\n")  # empty lines before a request are allowed
            self._blank += len(rest) - len(self._rest)
            rest = self._rest
        room = max(self._server.limits.request_size - self._blank, 0)
        end = head.END.search(rest, max(self._scanned - 2, 0), room)
        if end is None:
            self._scanned = len(rest)
            self._check_beginning(rest, room)
            return False
        self._rest = rest[end.end() :]
        self._scanned = 0
        try:
            request = head.parse(rest[: end.end()], self._server.limits.headers)
        except head.RefusedError as refused:
            self._refuse(refused.response)
            return False
        if request.body > room - end.end():
            self._refuse(head.LARGE_BODY)
            return False
        self._begin(request)
        return True

    def _check_beginning(self, rest: bytes, room: int) -> None:
        line = rest.find(b"\n", 0, room)
        if room and ((rest and not head.START.match(rest, 0, room)) or (line > 0 and rest[line - 1] != _CR)):
            self._refuse(head.MALFORMED)
        elif len(rest) >= room:
            self._refuse(head.LONG_LINE if room and line < 0 else head.LARGE_HEAD)

    def _begin(self, request: HttpRequest) -> None:
        self._blank = 0
        self._request = request
        self._missing = request.body
        if request.expects:
            self._write(_CONTINUE)

    # Responses.

    def _answer(self, request: HttpRequest) -> None:
        self._enter(State.ANSWERING)
        if not request.keep_alive:
            self._last = True
            self._rest = b""
        answer = self._server.answer(request)
        if isinstance(answer, Response):
            self._send(request, answer)
            self._enter(State.IDLE)
        else:
            self._request = request
            self._server.spawn(self._finish(request, answer))

    async def _finish(self, request: HttpRequest, answer: Awaitable[Response]) -> None:
        try:
            response = await answer
        except Exception:
            log.exception("request failed", extra={"path": request.path})
            response = _FAILED
        self._request = None
        if self.state is State.ANSWERING:
            self._send(request, response)
            self._enter(State.IDLE)
            if not self._server.turns.offer(self):
                self._wait_for_turn()

    def _send(self, request: HttpRequest, response: Response) -> None:
        connection = _CLOSE if self._last and not self._rest else _KEEP if request.old else b""
        start = b"".join((response.head, self._server.headers, connection, _END))
        self._write(start, b"" if request.method == "HEAD" else response.body)

    def _write(self, *pieces: bytes) -> None:
        size = sum(map(len, pieces))
        self._unread = min(self._unread, _SOCKET) + size
        self._server.turns.wrote(size)
        if self._tls is None:
            self._transport.writelines(pieces)
        else:
            self._transport.write(self._tls.send(b"".join(pieces)))

    def _refuse(self, response: Response) -> None:
        """Respond and serve no further; `_settle` then closes what can be closed at once."""
        self._rest = b""
        self._request = None
        self._last = True
        if self._tls is None or self._tls.established:
            self._write(response.head + self._server.headers + _CLOSE + _END + response.body)
        if self._tls is None and not self._transport.is_closing():
            self._transport.write_eof()
            self._scanned = 0
            self._enter(State.LEAVING)

    # Where it stands, and until when.

    def _settle(self) -> None:
        """Enter the state that the connection is in now."""
        if self.state is State.CLOSED and self._transport.is_closing():
            return
        if not self._queued and self.state not in (State.ANSWERING, State.LEAVING):
            self._enter(self._present())
            if self.state is State.CLOSING:
                self._close()
        self._read(wanted=RULES[self.state].reads and not self._queued)
        self._account()

    def _present(self) -> State:
        if self._transport.is_closing():
            return State.CLOSING
        if self._paused:
            return State.WRITING
        if self._last:
            return State.CLOSING
        if self._tls is not None and not self._tls.established:
            return State.HANDSHAKE
        if self._request is not None:
            return State.BODY
        return State.HEAD if self._rest or self._blank else State.IDLE

    def _enter(self, state: State) -> None:
        if self.state is not state:
            self._server.moved(self, self.state, state)
            self.state = state

    def _read(self, *, wanted: bool) -> None:
        if wanted is not self._reading:
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            elif not self._transport.is_closing():
                self._transport.pause_reading()

    def _close(self) -> None:
        self._rest = self._arrived = b""
        if self._tls is not None and self._tls.established and not self._transport.is_closing():
            self._transport.write(self._tls.farewell())
        self._transport.close()

    def expire(self) -> None:
        """End the present state, as its time is up."""
        if RULES[self.state].refuses:
            self._refuse(_TOO_SLOW)
            self._settle()
        else:
            self.drop()

    def finish(self) -> None:
        """Close once the requests that are here have their answers."""
        self._last = True
        self._settle()

    def drop(self) -> None:
        """Close without waiting for anything."""
        self._enter(State.CLOSED)
        self._rest = self._arrived = b""
        self._server.closed(self)
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    # What it holds.

    def _account(self) -> None:
        if self.state is not State.CLOSED:
            self._server.budget.charge(self, self._held())

    def _held(self) -> int:
        size = held.PLAIN + len(self._rest) + len(self._arrived) + self._unread
        if self._tls is not None:
            size += held.by_tls(self._tls)
        if self._request is not None:
            size += held.by_request(self._request)
        return size

    def remeasure(self) -> int:
        """Return what it holds now that what the client has read is known."""
        self._unread = held.unread(self._transport)
        return self._held()
