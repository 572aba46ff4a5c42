"""The connection to a node while it is being opened: dial, TLS, and one handshake per proxy on the way.

A node that is reached through another proxy has two: the first is asked for the second, the second for the
destination. There is no other code that dials, and what it dials is always a proxy.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from proxywatch.balancer.attempt import Blame, Failure
from proxywatch.balancer.node import Upstream
from proxywatch.balancer.relay import outcome
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.relay.session import Side, reset
from proxywatch.errors import ParseError, SourceError
from proxywatch.parse import http_proxy, socks

if TYPE_CHECKING:
    from proxywatch.balancer.relay.opening import Opening
    from proxywatch.balancer.relay.server import Relay

log = logging.getLogger(__name__)

_Taken = int | None
_State = Callable[["Leg", bytes], _Taken]  # as for clients


class Hop(msgspec.Struct, frozen=True, gc=False):
    """One proxy on the way, and what it is asked for."""

    proxy: Upstream
    host: str
    port: int
    command: int = socks.CONNECT
    plain: bool = False  # an HTTP proxy that gets the request itself, without a tunnel


class Leg(Side):
    """One attempt through one node.

    Attributes:
        held: What the node sent after its yes.
        bound: Where the node's last proxy says that it is bound; for UDP ASSOCIATE.
        started: When it was dialed, monotonic seconds.
        late: Whether our own loop was late since.
    """

    __slots__ = (
        "_hops", "_opening", "_place", "_read", "_relay", "_settled", "_work", "bound", "held", "late",
        "started",
    )  # fmt: skip

    def __init__(self, relay: "Relay", opening: "Opening", hops: tuple[Hop, ...], now: float) -> None:
        self.count = 0
        self.ended = False
        self.write = None
        self._relay = relay
        self._opening = opening
        self._hops = hops
        self._place = 0
        self._read: _State = Leg._nothing
        self._settled = False
        self.held = b""
        self.bound: socks.Answer | None = None
        self.late = False
        self.started = now
        relay.dialing[self] = now + relay.dial_timeout
        self._work: Coroutine[Any, Any, Any]

    def dial(self) -> None:
        """Begin; it may fail before this returns."""
        proxy = self._hops[0].proxy
        dialed = self._relay.loop.create_connection(lambda: self, proxy.host, proxy.port)
        self._work = self._then_secure(dialed) if proxy.scheme == "https" else dialed
        self._step()

    async def _then_secure(self, dialed: Coroutine[Any, Any, Any]) -> None:
        await dialed
        await self._secure()

    def _step(self, done: "asyncio.Future[object] | None" = None) -> None:
        """Drive the coroutine that dials, or shakes hands over TLS, from one future to the next.

        A task would do the same, for a tenth of what a whole connection costs.
        """
        if self._settled:
            if done is not None and not done.cancelled():
                done.exception()  # nobody else will look at it
            return
        try:
            future = self._work.send(None)
        except StopIteration:
            return
        except OSError as error:
            self._fail(outcome.of_error(error))
        except Exception:
            log.exception("a dial failed in a way that is not known")
            self._fail(outcome.INTERNAL)
        else:
            if future is None:
                self._relay.loop.call_soon(self._step)
            else:
                future.add_done_callback(self._step)

    async def _secure(self) -> None:
        """TLS with the proxy of this hop; its handshake follows."""
        proxy = self._hops[self._place].proxy
        secured = await self._relay.loop.start_tls(
            self.transport, self, self._relay.tls, server_hostname=proxy.host
        )
        if secured is None or self._settled:
            return
        self.transport = secured
        self._speak()

    # The handshakes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Dialed."""
        self.transport = transport  # type: ignore[assignment]
        if self._settled:
            self.transport.abort()
            return
        proxy = self._hops[0].proxy
        if proxy.scheme == "socks5" and not proxy.username:  # the short form of what follows
            self._read = Leg._choice
            self.transport.write(_HELLO)
        elif proxy.scheme != "https":
            self._speak()

    def _speak(self) -> None:
        hop = self._hops[self._place]
        if hop.proxy.scheme == "socks5":
            self._read = Leg._choice
            self.transport.write(socks.hello(login=True) if hop.proxy.username else _HELLO)
        elif hop.plain:
            self._succeed(b"")
        else:
            self._read = Leg._tunnel
            self.transport.write(http_proxy.connect(hop.host, hop.port, self._authorization(hop.proxy)))

    def hear(self, data: bytes) -> None:
        """Whatever the node says until it has said yes or no."""
        if self.held:
            data = self.held + data
            self.held = b""
        try:
            while data:
                taken = self._read(self, data)
                if taken is None:
                    self.held = data
                    return
                data = data[taken:]
                if self._read is _granted:
                    break
        except ParseError:
            self._fail(outcome.NODE_PROTOCOL)
        if self._read is _granted:
            self._succeed(data)

    def _nothing(self, data: bytes) -> _Taken:
        """No answer is due."""
        raise ParseError(f"{len(data)} bytes before their time")

    def _choice(self, data: bytes) -> _Taken:
        read = socks.choice(data)
        if read is None:
            return None
        method, taken = read
        proxy = self._hops[self._place].proxy
        if method == socks.PASSWORD and proxy.username:
            self._read = Leg._verdict
            self.transport.write(socks.login(proxy.username.encode(), self._password(proxy)))
        elif method == socks.NO_LOGIN and not proxy.username:
            self._ask()
        else:
            self._fail(outcome.NODE_LOGIN)
        return taken

    def _verdict(self, data: bytes) -> _Taken:
        read = socks.verdict(data)
        if read is None:
            return None
        verdict, taken = read
        if verdict:
            self._fail(outcome.NODE_LOGIN)
        else:
            self._ask()
        return taken

    def _ask(self) -> None:
        hop = self._hops[self._place]
        self._read = Leg._answer
        self.transport.write(socks.connect(hop.host, hop.port, hop.command))

    def _answer(self, data: bytes) -> _Taken:
        read = socks.answer(data)
        if read is None:
            return None
        self.bound, taken = read
        if self.bound.code == socks.GRANTED:
            if self._place + 1 == len(self._hops):
                self._read = _granted
            else:
                self._next()
        else:
            self._fail(outcome.of_reply(self.bound.code))
        return taken

    def _tunnel(self, data: bytes) -> _Taken:
        response = http_proxy.response_head(data, b"CONNECT")
        if response is None:
            return None
        if 200 <= response.status < 300:  # noqa: PLR2004 - the class of success
            self._next()
        elif response.status >= 200:  # noqa: PLR2004 - no interim response
            self._fail(outcome.of_status(response.status))
        return response.size

    def _next(self) -> None:
        self._place += 1
        if self._place == len(self._hops):
            self._read = _granted
            return
        if self._hops[self._place].proxy.scheme == "https":
            self._read = Leg._nothing
            self._work = self._secure()
            self._step()
        else:
            self._speak()

    def _password(self, proxy: Upstream) -> bytes:
        try:
            return self._relay.passwords.read(proxy.password_file)
        except SourceError:
            self._fail(outcome.NODE_PASSWORD)
            return b""

    def _authorization(self, proxy: Upstream) -> bytes:
        if not proxy.username:
            return b""
        return b"Basic " + base64.b64encode(proxy.username.encode() + b":" + self._password(proxy))

    def authorization(self) -> bytes:
        """The last proxy's own, for a request that it gets without a tunnel."""
        return self._authorization(self._hops[-1].proxy)

    # Its end

    def finished(self) -> bool:
        """The node ends it before its answer."""
        self._fail(outcome.DIAL_RESET)
        return False

    def lost(self) -> None:
        """The same, less politely."""
        self._fail(outcome.DIAL_RESET)

    def expire(self) -> None:
        """Its time is up."""
        self._fail(outcome.LATE if self.late else outcome.DIAL_TIMEOUT)

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self._settle()
        self._close()

    def _succeed(self, rest: bytes) -> None:
        """Hand over, with what the node sent after its yes."""
        self.held = rest
        self._settled = True
        self._read = _over
        del self._relay.dialing[self]
        self._opening.granted(self)

    def _fail(self, why: Outcome) -> None:
        if self._settled:
            return
        self._settle()
        self._close()
        blame: Blame = "node" if why.blame == "client" else why.blame
        if len(self._hops) > 1 and self._place == 0:
            # The first proxy is asked for the second: what it says of that destination is the node's fault.
            blame = {"node": "hop", "destination": "node"}.get(why.blame, why.blame)  # type: ignore[assignment]
        self._opening.failed(why, Failure(blame, why.reason, self._relay.now() - self.started))

    def _settle(self) -> None:
        self._settled = True
        self._read = _over
        self._relay.dialing.pop(self, None)

    def _close(self) -> None:
        if hasattr(self, "transport"):
            reset(self.transport)
        else:
            self._work.close()


def _granted(_: Leg, data: bytes) -> _Taken:
    """The last proxy has said yes; what follows is payload."""
    raise AssertionError(len(data))


def _over(_: Leg, data: bytes) -> _Taken:
    """Nothing is read any more."""
    return len(data)


_HELLO = socks.hello(login=False)
