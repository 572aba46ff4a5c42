"""A client's connection, from its first byte to an open connection or a no.

What it speaks shows in its first byte: 5 and 4 are SOCKS, anything else is HTTP. Each state takes exactly the
bytes of its message; what follows a complete request is payload, which is held until a node has said yes, and
then written once.
"""

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxywatch.balancer import wishes
from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.relay import association, forward, outcome, replies
from proxywatch.balancer.relay.caller import Caller, discard
from proxywatch.balancer.relay.leg import Leg
from proxywatch.balancer.relay.listening import Port
from proxywatch.balancer.relay.opening import Opening
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.relay.users import BusyError, User
from proxywatch.balancer.request import Destination, Request, Wishes
from proxywatch.errors import ParseError
from proxywatch.parse import http_proxy, socks
from proxywatch.parse.http_proxy import Head

if TYPE_CHECKING:
    from proxywatch.balancer.relay.server import Relay

_Taken = int | None
_LOGIN_FAILURES = 5


class Client(Caller):
    """One connection of a client.

    Attributes:
        name: The user as the client named it, without wishes.
        destination: Where it wants to go.
        wishes: What it wishes of the exit.
    """

    __slots__ = ("_failures", "_socks4", "destination", "name", "wishes")

    def __init__(self, relay: "Relay", port: Port) -> None:
        super().__init__(relay, port)
        self.wishes: Wishes = port.wishes
        self.destination: Destination | None = None
        self.name = ""
        self._failures = 0
        self._socks4 = False

    def first(self, data: bytes) -> int | None:
        """What it speaks."""
        if data[0] == 5:  # noqa: PLR2004 - the version
            self.read = self._greeting
        elif data[0] == 4:  # noqa: PLR2004 - the version
            self.spoken = "socks4"
            self.read = self._request4
        else:
            self.spoken = "http"
            self.read = self._head
        return self.read(data)

    # SOCKS

    def _greeting(self, data: bytes) -> _Taken:
        read = socks.greeting(data)
        if read is None:
            return None
        methods, taken = read
        if socks.PASSWORD in methods:
            self.read = self._credentials
            self.transport.write(b"\5\2")
        elif socks.NO_LOGIN in methods and not self.port.login:
            self.read = self._request
            self.transport.write(b"\5\0")
        else:
            self._close(b"\5\xff", outcome.LOGIN, "it offers no way to log in that is accepted")
        return taken

    def _credentials(self, data: bytes) -> _Taken:
        read = socks.credentials(data)
        if read is None:
            return None
        (name, password), taken = read
        try:
            self._wish(name)
        except ParseError as error:
            self._close(b"\1\1", outcome.WISH, str(error))
            return taken
        self._log_in(password, self._socks_logged_in)
        return taken

    def _socks_logged_in(self, user: User | None, *, good: bool) -> None:
        if good:
            self.user = user
            self.read = self._request
            self.transport.write(b"\1\0")
        else:
            self._close(b"\1\1", outcome.LOGIN, "wrong user or password")

    def _request(self, data: bytes) -> _Taken:
        read = socks.request(data)
        if read is None:
            return None
        request, taken = read
        self._ask(request.command, request.host, request.port)
        return taken

    def _request4(self, data: bytes) -> _Taken:
        read = socks.request4(data)
        if read is None:
            return None
        request, taken = read
        self._socks4 = True
        try:
            self._wish(request.user)
        except ParseError as error:
            self._close(socks.reply4(socks.REJECTED4), outcome.WISH, str(error))
            return taken
        if self.port.login:
            self._close(socks.reply4(socks.REJECTED4), outcome.LOGIN, "SOCKS4 has no passwords")
        else:
            self._ask(request.command, request.host, request.port)
        return taken

    def _ask(self, command: int, host: str, port: int) -> None:
        """Serve a command of SOCKS."""
        self.relay.requested(self)
        if command == socks.CONNECT and port:
            self.open(host, port, self._granted)
        elif command == socks.UDP_ASSOCIATE and not self._socks4:
            self.spoken = "udp"
            self.exchange = started = association.Association(self)
            started.start()
        else:
            self.refuse(outcome.NO_COMMAND)

    # HTTP

    def _head(self, data: bytes) -> _Taken:
        head = http_proxy.request_head(data, self._scanned)
        self._scanned = len(data)
        if head is None:
            return None
        self.read = self.wait
        pair = _basic(head.field(b"proxy-authorization"))
        if pair is None and self.port.login:
            self._challenge(head, "no credentials")
            return head.size
        try:
            self._wish(pair[0] if pair else b"")
        except ParseError as error:
            self._challenge(head, str(error))
            return head.size

        def logged_in(user: User | None, *, good: bool) -> None:
            if good:
                self.user = user
                self._serve(head)
            else:
                self._challenge(head, "wrong user or password")

        if pair is None:
            self._serve(head)
        else:
            self._log_in(pair[1], logged_in)
        return head.size

    def _serve(self, head: Head) -> None:
        self.relay.requested(self)
        if not head.host:
            forward.answer_itself(self, head)
        elif head.method == b"CONNECT":
            self.spoken = "connect"
            self.open(head.host, head.port, self._granted)
        else:
            self.exchange = started = forward.Exchange(self, head)
            started.start()

    def _challenge(self, head: Head, why: str) -> None:
        """407; the connection stays usable while it can be told where the next request begins."""
        self._failures += 1
        keep = not head.length and self._failures < _LOGIN_FAILURES
        self.relay.told_no(self, why)
        self.relay.refused(self, outcome.LOGIN)
        self.transport.write(replies.challenge(why, close=not keep))
        if keep:
            self.read = self._head
        else:
            self.close()

    def next_request(self) -> None:
        """An exchange is over: the connection waits for another."""
        self.exchange = None
        self.wishes = self.port.wishes
        self.user = None
        self.read = self._head
        self.relay.kept(self)
        self.transport.resume_reading()
        if self.held:
            self.take()
        elif self.ended:
            self.close()

    # What all of them share

    def _wish(self, name: bytes) -> None:
        self.name, own = wishes.parse(name)
        self.wishes = wishes.over(own, self.port.wishes)

    def _log_in(self, password: bytes, then: Callable[..., None]) -> None:
        users = self.relay.users
        if users is None:
            then(None, good=True)
            return
        user = users.known(self.name, password)
        if user is not None:
            then(user, good=True)
            return
        self.read = self.wait
        self.relay.spawn(self._compare(password, then))

    async def _compare(self, password: bytes, then: Callable[..., None]) -> None:
        users = self.relay.users
        try:
            user = await users.check(self.name, password, self.address) if users else None
        except BusyError:
            user = None
        if self.transport.is_closing():
            return
        then(user, good=user is not None)
        self.take()

    def open(
        self, host: str, port: int, granted: Callable[[Choice, Leg], None], *, command: int = socks.CONNECT,
        plain: bool = False,
    ) -> None:  # fmt: skip
        """Ask the pool for a destination."""
        self.read = self.wait
        why = self.relay.forbids(host) if command == socks.CONNECT else None
        why = why or self.relay.hinders(self)
        if why is not None:
            self.refuse(why)
            return
        user = self.user
        self.destination = Destination(host, port)
        request = Request(
            self.relay.now(), self.relay.time(), self.address, self.name, self.destination, self.wishes,
            countries=user.countries if user else frozenset(),
        )  # fmt: skip
        self.relay.opening(self)
        self._opening = Opening(self.relay, request, granted, self.refuse, command=command, plain=plain)
        self._opening.start()

    def _granted(self, choice: Choice, leg: Leg) -> None:
        """A node said yes: say so, write what was held, and let bytes pass."""
        self._opening = None
        if self.spoken == "connect":
            self.transport.write(replies.ESTABLISHED)
        elif self._socks4:
            self.transport.write(socks.reply4(socks.GRANTED4))
        else:
            self.transport.write(_GRANTED)
        self.read = discard
        self.relay.opened(self, choice).join(self, leg)
        if leg.held:
            leg.data_received(leg.held)
            leg.held = b""
        if self.held:
            self.data_received(self.held)
            self.held = b""
        if self.ended:
            self.eof_received()
        else:
            self.transport.resume_reading()

    def refuse(self, why: Outcome) -> None:
        """No node will: the client's protocol's no."""
        self._opening = None
        if self.exchange is not None:
            self.exchange.refused(why)
            return
        if self.spoken in {"connect", "http"}:
            self._close(replies.failure(why), why, why.detail)
        elif self._socks4:
            self._close(socks.reply4(socks.REJECTED4), why, why.detail)
        else:
            self._close(socks.reply(why.reply), why, why.detail)

    def malformed(self, error: ParseError, status: int) -> None:
        """Told in its own protocol, where it has begun to speak one."""
        if self.spoken == "http":
            self._close(replies.status(status, str(error)), outcome.MALFORMED, str(error))
        elif self.read == self._request:
            self._close(socks.reply(socks.GENERAL), outcome.MALFORMED, str(error))
        else:
            self._close(b"", outcome.MALFORMED, str(error))

    def _close(self, reply: bytes, why: Outcome, detail: str) -> None:
        if why in {outcome.WISH, outcome.LOGIN}:
            self.relay.told_no(self, detail)
        self.relay.refused(self, why)
        self.transport.write(reply)
        self.close()


def _basic(credentials: bytes) -> tuple[bytes, bytes] | None:
    """User and password of a Basic Proxy-Authorization; None for anything else."""
    scheme, _, encoded = credentials.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return (name, password) if colon else None


_GRANTED = socks.reply(socks.GRANTED)
