"""Absolute-form HTTP: one exchange, from a client's request to the end of its answer.

Requests of one connection are served one after the other, each with its own user, wishes, node and connection
to the origin; those that come ahead of their turn wait. An answer whose end only the origin's close shows
ends the client's connection as well.
"""

import asyncio
from typing import TYPE_CHECKING

from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.relay import outcome, replies
from proxywatch.balancer.relay.caller import Caller
from proxywatch.balancer.relay.leg import Leg
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.relay.session import Session, reset
from proxywatch.errors import ParseError
from proxywatch.parse import http_proxy
from proxywatch.parse.http_proxy import UNTIL_CLOSE, Body, Head

if TYPE_CHECKING:
    from proxywatch.balancer.relay.client import Client

_SWITCHING, _FINAL = 101, 200


class Exchange(asyncio.Protocol):
    """One request and its answer; the protocol of the connection to the node once it is open."""

    __slots__ = (
        "_answer", "_answered", "_client", "_head", "_held", "_keep", "_leg", "_node", "_request", "_scanned",
        "_session",
    )  # fmt: skip

    def __init__(self, client: "Client", head: Head) -> None:
        self._client = client
        self._head = head
        self._request = Body(head.length)
        self._answer: Body | None = None
        self._answered = False
        self._keep = not head.close
        self._session: Session | None = None
        self._node: asyncio.Transport | None = None
        self._leg: Leg | None = None
        self._held = b""
        self._scanned = 0

    def start(self) -> None:
        """Ask the pool."""
        self._client.open(self._head.host, self._head.port, plain=True)

    def granted(self, choice: Choice, leg: Leg, now: float) -> None:
        """A node said yes: send it the request."""
        client = self._client
        self._leg = leg
        self._node = node = leg.transport
        self._session = session = client.relay.opened(client, choice, now)
        session.carrier = self
        node.set_protocol(self)
        absolute = choice.node.upstream.scheme != "socks5"
        authorization = leg.authorization() if absolute else b""
        head = http_proxy.forwarded(self._head, absolute=absolute, authorization=authorization)
        session.extra_in += len(head)
        node.write(head)
        client.read = Caller.wait if self._request.done else self._body
        if leg.held:
            self.data_received(leg.held)
        client.transport.resume_reading()
        client.hear()

    # The client's side

    def _body(self, _: Caller, data: bytes) -> int | None:
        taken = self._request.take(data)
        if self._node is not None and self._session is not None and not self._node.is_closing():
            self._session.extra_in += taken
            self._node.write(data[:taken])
            if self._session.user is not None:
                self._session.user.spend(self._client.relay.loop, taken, self._client.transport, self._node)
        if self._request.done:
            self._client.read = Caller.wait
        return taken

    def client_writable(self, *, yes: bool) -> None:
        """Read from the node as far as the client takes it."""
        if self._node is not None:
            self._node.resume_reading() if yes else self._node.pause_reading()

    def client_ended(self) -> bool:
        """The client sends no more; its request is served if it was whole."""
        if not self._request.done:
            self._abort("client_left")
        return True

    def client_left(self) -> None:
        """The client is gone."""
        self._abort("client_left")

    def refused(self, why: Outcome) -> None:
        """No node took the request."""
        client = self._client
        client.relay.refused(client, why)
        keep = self._keep and self._request.done
        client.transport.write(replies.failure(why, close=not keep))
        self._over(keep=keep)

    # The node's side

    def data_received(self, data: bytes) -> None:
        """Head, then body, of the answer; and of interim ones before it."""
        data = self._held + data
        self._held = b""
        try:
            while data and self._session is not None:
                taken = self._body_of_answer(data) if self._answer else self._head_of_answer(data)
                if taken is None:
                    self._held = data
                    return
                data = data[taken:]
                if self._answer is not None and self._answer.done:
                    self._finish()
        except ParseError:
            self._broken(outcome.BAD_ANSWER)

    def _head_of_answer(self, data: bytes) -> int | None:
        response = http_proxy.response_head(data, self._head.method, self._scanned)
        self._scanned = len(data)
        if response is None:
            return None
        self._scanned = 0
        if response.status == _SWITCHING and self._head.upgrade:
            self._switch(
                http_proxy.passed_on(response, self._head.version, close=False), data[response.size :]
            )
            return len(data)
        if response.status == _SWITCHING or (response.status == 407 and not response.fields):  # noqa: PLR2004
            raise ParseError("an answer to what was not asked")
        if response.status >= _FINAL:
            self._answer = Body(response.length)
            self._keep = self._keep and response.length != UNTIL_CLOSE and self._request.done
        elif self._head.version == 0:
            return response.size  # HTTP/1.0 knows no interim responses
        self._say(http_proxy.passed_on(response, self._head.version, close=not self._keep))
        self._answered = self._answer is not None
        return response.size

    def _body_of_answer(self, data: bytes) -> int:
        assert self._answer is not None  # noqa: S101 - so the caller has it
        taken = self._answer.take(data)
        self._say(data[:taken])
        return taken

    def _say(self, data: bytes) -> None:
        if self._session is not None:
            self._session.extra_out += len(data)
            self._client.transport.write(data)
            if self._session.user is not None and self._node is not None:
                self._session.user.spend(
                    self._client.relay.loop, len(data), self._node, self._client.transport
                )

    def _switch(self, head: bytes, rest: bytes) -> None:
        """101: from here on it is a tunnel."""
        session, node, client, leg = self._session, self._node, self._client, self._leg
        if session is None or node is None or leg is None:
            return
        self._session = self._node = None
        client.exchange = None
        client.transport.write(head)
        session.join(client, leg)
        node.set_protocol(leg)
        session.extra_out += len(head)
        if rest:
            leg.data_received(rest)
        if client.held:
            client.data_received(client.held)
            client.held = b""
        client.transport.resume_reading()

    def pause_writing(self) -> None:
        """The node takes no more."""
        self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        """It takes more again."""
        self._client.transport.resume_reading()

    def eof_received(self) -> bool:
        """The origin ends it: the end of an answer without a length, a cut in any other."""
        if self._session is not None:
            if self._answer is not None and self._answer.until_close:
                self._finish()
            else:
                self._broken(outcome.CUT_ANSWER)
        return False

    def connection_lost(self, _: Exception | None) -> None:
        """The node is gone."""
        if self._session is not None:
            self._broken(outcome.CUT_ANSWER)

    def _broken(self, why: Outcome) -> None:
        """The answer is cut, or none: the client must not take it for whole."""
        client = self._client
        self._abort(why.reason)
        if self._answered:
            client.exchange = None
            reset(client.transport)
        else:
            client.transport.write(replies.failure(why))
            self._over(keep=False)

    def _finish(self) -> None:
        """The answer is whole."""
        session, node = self._session, self._node
        self._session = self._node = None
        if session is not None:
            session.end("done")
        if node is not None:
            node.close()
        self._over(keep=self._keep)

    def forced(self, reason: str) -> None:
        """The relay ends it."""
        self._abort(reason)
        self._client.exchange = None
        reset(self._client.transport)

    def _abort(self, reason: str) -> None:
        session, node = self._session, self._node
        self._session = self._node = None
        if session is not None:
            session.end(reason)
        if node is not None:
            reset(node)

    def _over(self, *, keep: bool) -> None:
        if keep and not self._client.relay.draining:
            self._client.next_request()
        else:
            self._client.exchange = None
            self._client.close()


def answer_itself(client: "Client", head: Head) -> None:
    """A request to the relay itself: the documents that it was given, such as /proxy.pac."""
    made = client.relay.documents.get(head.path.partition(b"?")[0].decode("latin-1"))
    close = head.close or bool(head.length)
    if made is None or head.method not in {b"GET", b"HEAD"}:
        client.transport.write(replies.status(404, "this is a proxy; it has no such document", close=close))
    else:
        body = made()
        client.transport.write(
            replies.document(
                "application/x-ns-proxy-autoconfig", body, close=close, head=head.method == b"HEAD"
            )
        )
    if close:
        client.close()
    else:
        client.next_request()
