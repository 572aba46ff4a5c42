"""A client's connection, from its first byte to an open connection or a no.

What it speaks shows in its first byte: 5 and 4 are SOCKS, anything else is HTTP. Each state takes exactly the
bytes of its message; what follows a complete request is payload, which is held until a node has said yes, and
then written once.
"""

import base64
import binascii
from collections.abc import Callable

from proxywatch.balancer import wishes
from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.relay import association, forward, outcome, replies
from proxywatch.balancer.relay.caller import Caller, discard
from proxywatch.balancer.relay.leg import Leg
from proxywatch.balancer.relay.opening import Opening
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.relay.users import BusyError, User
from proxywatch.balancer.request import Destination, Request
from proxywatch.errors import ParseError
from proxywatch.parse import http_proxy, socks
from proxywatch.parse.http_proxy import Head

_Taken = int | None
_LOGIN_FAILURES = 5


class Client(Caller):
    """One connection of a client."""

    __slots__ = ()

    def first(self, data: bytes) -> int | None:
        """What it speaks."""
        if data == _HELLO and not self.port.login:  # the short form of what most say
            self.read = Client._request
            self.transport.write(b"\5\0")
            return 3
        if data[0] == 5:  # noqa: PLR2004 - the version
            self.read = Client._greeting
        elif data[0] == 4:  # noqa: PLR2004 - the version
            self.spoken = "socks4"
            self.read = Client._request4
        else:
            self.spoken = "http"
            self.read = Client._head
        return self.read(self, data)

    # SOCKS

    def _greeting(self, data: bytes) -> _Taken:
        read = socks.greeting(data)
        if read is None:
            return None
        methods, taken = read
        if socks.PASSWORD in methods:
            self.read = Client._credentials
            self.transport.write(b"\5\2")
        elif socks.NO_LOGIN in methods and not self.port.login:
            self.read = Client._request
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
            self.read = Client._request
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
            self.open(host, port)
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
        self.read = Caller.wait
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
            self.open(head.host, head.port)
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
            self.read = Client._head
        else:
            self.close()

    def next_request(self) -> None:
        """An exchange is over: the connection waits for another."""
        self.exchange = None
        self.wishes = self.port.wishes
        self.user = None
        self.read = Client._head
        self.relay.kept(self)
        self.transport.resume_reading()
        if self.held:
            self.hear()
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
        self.read = Caller.wait
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
        self.hear()

    def open(self, host: str, port: int, *, command: int = socks.CONNECT, plain: bool = False) -> None:
        """Ask the pool for a destination."""
        self.read = Caller.wait
        relay, user = self.relay, self.user
        why = relay.admit(self, host if command == socks.CONNECT else "")
        if why is not None:
            self.refuse(why)
            return
        self.destination = destination = Destination(host, port)
        request = Request(
            relay.now(), relay.time(), self.address, self.name, destination, self.wishes,
            countries=user.countries if user else _ALL,
        )  # fmt: skip
        self._opening = opening = Opening(relay, request, self, command=command, plain=plain)
        opening.choose(request.at)

    def granted(self, choice: Choice, leg: Leg, now: float) -> None:
        """A node said yes: say so, write what was held, and let bytes pass."""
        self._opening = None
        if self.exchange is not None:
            self.exchange.granted(choice, leg, now)
            return
        if self.spoken == "connect":
            self.transport.write(replies.ESTABLISHED)
        elif self._socks4:
            self.transport.write(socks.reply4(socks.GRANTED4))
        else:
            self.transport.write(_GRANTED)
        self.read = discard
        self.relay.opened(self, choice, now).join(self, leg)
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
        elif self.read is Client._request:
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
_HELLO = b"\5\1\0"
_ALL: frozenset[str] = frozenset()
