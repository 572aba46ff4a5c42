"""The relay: where it listens, what is open, and the clock that ends what takes too long.

    async with Relay(settings, brain, ...) as relay:
        ...
        await relay.drain(300)

One sweep, four times a second, serves all deadlines; no connection has a timer or a task of its own.
Deadlines of one kind are set in order, so a sweep looks only at those that are due.
"""

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network
from itertools import count
from typing import Any, Self

from proxywatch.balancer import wishes
from proxywatch.balancer.attempt import Brain, Choice
from proxywatch.balancer.node import Upstream
from proxywatch.balancer.relay import listening, outcome, process
from proxywatch.balancer.relay.caller import Caller, due
from proxywatch.balancer.relay.client import Client
from proxywatch.balancer.relay.deny import Deny
from proxywatch.balancer.relay.leg import Leg
from proxywatch.balancer.relay.listening import Port
from proxywatch.balancer.relay.observer import Connection, Observer, Unobserved
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.relay.passwords import Passwords
from proxywatch.balancer.relay.session import Session, reset
from proxywatch.balancer.relay.settings import Settings
from proxywatch.balancer.relay.users import Users
from proxywatch.balancer.request import Wishes
from proxywatch.clock import Clock

log = logging.getLogger(__name__)

_TICK = 0.25
_LATE = 1.0  # a tick that comes so much later than it should says that our own loop was held up
_SELDOM = 5.0  # seconds between looks at idle times, quotas and the users' file; less for short idle times
_LINGER = 2.0  # seconds for a client to read why it gets a no


class Relay:
    """The data plane of one process.

    Attributes:
        settings: As configured.
        brain: Chooses nodes.
        users: Who may use it; None for everybody.
        documents: What a request to the relay itself gets, by path.
        tls: For nodes that are reached over TLS.
        draining: Whether no new connection is accepted any more.
        sessions: What is open.
        dialing: Attempts that wait for a node, with their deadlines.
        counts: Opened, closed and refused, all time.
    """

    def __init__(
        self,
        settings: Settings,
        brain: Brain,
        *,
        users: Users | None = None,
        observer: Observer | None = None,
        upstream_of: Callable[[str], Upstream | None] = lambda _: None,
        documents: Mapping[str, Callable[[], bytes]] | None = None,
        tls: ssl.SSLContext | None = None,
        front: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Assemble it.

        Args:
            settings: The section `relay`.
            brain: Chooses nodes, and is told what became of them.
            users: Read from `settings.users_file`; None for no users.
            observer: Is told of every connection.
            upstream_of: How to reach a node by its id, for nodes that are reached via another.
            documents: By path, such as /proxy.pac: what makes the document.
            tls: For nodes that are reached over TLS; the system's certificates unless given.
            front: TLS toward clients; None for none.
            clock: The machine's, unless a test has another.
        """
        self.settings = settings
        self.brain = brain
        self.users = users
        self.observer = observer or Unobserved()
        self.upstream_of = upstream_of
        self.documents = documents or {}
        self.tls = tls or ssl.create_default_context()
        self.now = clock.monotonic if clock else time.monotonic
        self.time = clock.now if clock else time.time
        self.passwords = Passwords(self.now)
        self.dial_timeout = float(settings.dial_timeout)
        self.user_timeout = int(settings.user_timeout * 1000)
        self.draining = False
        self.sessions: dict[Session, None] = {}
        self.dialing: dict[Leg, float] = {}
        self.counts = {"opened": 0, "closed": 0, "refused": 0, "evicted": 0}
        self._front = front
        self._clients: dict[Caller, float] = {}  # without a complete request, by deadline
        self._waiting: dict[Caller, float] = {}  # for the next request of a kept connection
        self._leaving: dict[Caller, float] = {}  # told no, and given a moment to read it
        self._opening: dict[Caller, None] = {}
        self._deny = Deny(settings.deny)
        self.trusted = tuple(map(ip_network, settings.proxy_protocol.trusted))
        self._logged, self._unlogged = float("-inf"), 0
        self._boot = os.urandom(4).hex()
        self._number = count(1)
        self._ports: list[listening.Listening] = []
        self._group = asyncio.TaskGroup()
        self._capacity, self._most_handshakes = settings.max_connections, settings.max_handshakes

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self._capacity, self._most_handshakes = process.capacity(self.settings)
        await self._group.__aenter__()
        try:
            await self._listen()
        except BaseException:
            self._close_ports()
            raise
        self._sweeper = self._group.create_task(self._sweep(), name="relay deadlines")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close_ports()
        self.close_all(lambda _: True, "stopped")
        for client in [*self._clients, *self._waiting, *self._leaving, *self._opening]:
            reset(client.transport)
        self._sweeper.cancel()
        await asyncio.sleep(0)
        await self._group.__aexit__(None, None, None)

    async def _listen(self) -> None:
        settings = self.settings
        mine = Port(Wishes(), login=settings.needs_login())
        places = [(settings.listen, mine, "relay.listen")]
        for number, one in enumerate(settings.listeners):
            own = wishes.listed(one.wishes) if one.wishes else Wishes()
            port = Port(own, login=settings.needs_login(one))
            places.append((one.listen, port, f"relay.listeners[{number}]"))
        for address, port, setting in places:
            opened = await listening.listen(
                address,
                setting,
                partial(Client, self, port),
                settings,
                self._front,
            )
            self._ports.append(opened)

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return [address for port in self._ports for address in port.addresses]

    @property
    def handshakes(self) -> int:
        """Clients that are connected without a complete request."""
        return len(self._clients)

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run it among the relay's tasks."""
        return self._group.create_task(work)

    # A client's way

    def accepted(self, client: Caller) -> None:
        """It has connected; beyond the bound the oldest that is still silent goes."""
        if self.draining:
            reset(client.transport)
            return
        self._clients[client] = self.now() + self.settings.handshake_timeout
        if len(self._clients) > self._most_handshakes:
            oldest = next(iter(self._clients))
            del self._clients[oldest]
            self.counts["evicted"] += 1
            reset(oldest.transport)

    def requested(self, client: Client) -> None:
        """Its request is complete."""
        self._clients.pop(client, None)
        self._waiting.pop(client, None)

    def kept(self, client: Client) -> None:
        """It may send another request."""
        self._waiting[client] = self.now() + self.settings.keep_alive_timeout

    def admit(self, client: Caller, host: str) -> Outcome | None:
        """Count a connection that is to be opened for a client, or say what is in its way.

        Args:
            client: With its user.
            host: Where it is to lead; empty where that is judged later.
        """
        if host and (entry := self._deny.reason(host)):
            return _forbidden(entry)
        if self.draining:
            return outcome.STOPPING
        if len(self.sessions) + len(self._opening) >= self._capacity:
            return outcome.FULL
        user = client.user
        if user is not None:
            if limit := user.refuses(self.time()):
                return replace(outcome.LIMITED, detail=f"the user's {limit} is reached")
            user.open += 1
        self._opening[client] = None
        return None

    def opened(self, client: Caller, choice: Choice, now: float) -> Session:
        """A node said yes: from here on it is a session."""
        del self._opening[client]
        assert client.destination is not None  # noqa: S101 - it was asked for
        connection = Connection(
            f"{self._boot}-{next(self._number):x}", now, client.spoken, client.address, client.name,
            client.destination, choice.route, choice.node.id, choice.decision,
        )  # fmt: skip
        session = Session(self, choice, connection, client.user)
        self.sessions[session] = None
        self.counts["opened"] += 1
        if client.user is not None:
            client.user.connections += 1
        self.observer.opened(connection)
        return session

    def ended(self, session: Session, reason: str) -> None:
        """A session is over."""
        del self.sessions[session]
        self.counts["closed"] += 1
        seconds = self.now() - session.connection.at
        bytes_in, bytes_out = session.bytes_in, session.bytes_out
        if session.user is not None:
            session.user.open -= 1
        if bytes_in != session.charged_in or bytes_out != session.charged_out:
            self._charge(session)
        self.brain.closed(session.choice, bytes_in, bytes_out, seconds, reason)
        self.observer.closed(session.connection, bytes_in, bytes_out, seconds, reason)

    def refused(self, client: Caller, why: Outcome) -> None:
        """It gets a no."""
        self.counts["refused"] += 1
        self._not_opening(client)
        self.observer.refused(client.spoken, why.reason, why.blame)

    def told_no(self, client: Caller, why: str) -> None:
        """Log why a login failed; a line a second at most, as this may happen as often as a client likes."""
        now = self.now()
        if now - self._logged < 1.0:
            self._unlogged += 1
            return
        more = f" (and {self._unlogged} more since the last such line)" if self._unlogged else ""
        self._logged, self._unlogged = now, 0
        log.warning("client %s could not log in: %s%s", client.address, why, more)

    def left(self, client: Caller) -> None:
        """It is gone."""
        self._clients.pop(client, None)
        self._waiting.pop(client, None)
        self._leaving.pop(client, None)
        self._not_opening(client)

    def leaving(self, client: Caller) -> None:
        """It has been told no, and is about to close."""
        self._leaving[client] = self.now() + _LINGER
        if len(self._leaving) > self._most_handshakes // 2:
            oldest = next(iter(self._leaving))
            del self._leaving[oldest]
            reset(oldest.transport)

    def _not_opening(self, client: Caller) -> None:
        if client in self._opening:
            del self._opening[client]
            if client.user is not None:
                client.user.open -= 1

    def forbids(self, host: str) -> Outcome | None:
        """Whether nobody may go there."""
        entry = self._deny.reason(host)
        return _forbidden(entry) if entry else None

    def trusts(self, address: str) -> bool:
        """Whether a peer is a load balancer that tells of its clients."""
        if address == "unix":
            return False
        return any(ip_address(address) in network for network in self.trusted)

    # The clock

    async def _sweep(self) -> None:
        ticks = 0
        seldom = max(1, int(min(_SELDOM, self.settings.idle_timeout / 4) / _TICK))
        due = self.loop.time() + _TICK
        while True:
            await asyncio.sleep(max(0.0, due - self.loop.time()))
            late = self.loop.time() - due
            due = self.loop.time() + _TICK
            ticks += 1
            if late > _LATE:
                self._excuse(late)
            self._expire(self.now())
            if ticks % seldom == 0:
                self._look_at_sessions(self.now())
                self._reload_users()

    def _excuse(self, late: float) -> None:
        """Our own loop was held up: answers may wait unread. Nobody's time has run out meanwhile."""
        log.warning("the event loop was held up for %.1f s", late)
        for leg, deadline in self.dialing.items():
            self.dialing[leg] = deadline + late
            leg.late = True

    def _expire(self, now: float) -> None:
        for client in due(self._clients, now):
            client.expire()
        for client in due(self._waiting, now):
            client.close()
        for client in due(self._leaving, now):
            reset(client.transport)
        while self.dialing and (oldest := next(iter(self.dialing.items())))[1] <= now:
            oldest[0].expire()

    def _look_at_sessions(self, now: float) -> None:
        """End those that are silent for too long, or whose user has used up a quota."""
        idle = self.settings.idle_timeout
        for session in list(self.sessions):
            if not session.watched:
                session.keep_alive()
            passed = session.bytes_in + session.bytes_out
            if passed != session.passed:
                session.passed = passed
                session.quiet_since = now
            elif now - session.quiet_since >= idle:
                session.abort("idle")
                continue
            self._charge(session)
            if session.user is not None and session.user.over(self.time()):
                session.abort("quota")

    def _charge(self, session: Session) -> None:
        """Account for what passed since the last time."""
        bytes_in, bytes_out = session.bytes_in, session.bytes_out
        more_in, more_out = bytes_in - session.charged_in, bytes_out - session.charged_out
        if not (more_in or more_out):
            return
        session.charged_in, session.charged_out = bytes_in, bytes_out
        if session.user is not None:
            session.user.charge(self.time(), more_in, more_out)
        self.observer.passed(session.connection, more_in, more_out)

    def _reload_users(self) -> None:
        if self.users is None:
            return
        gone = set(self.users.reload())
        if gone:
            self.close_all(lambda session: session.connection.user in gone, "user_removed")

    # The end

    def close_all(self, which: Callable[[Session], bool], reason: str) -> int:
        """End the sessions of which this is true, now; how many there were."""
        chosen = [session for session in self.sessions if which(session)]
        for session in chosen:
            session.abort(reason)
        return len(chosen)

    def close_node(self, node: str, reason: str) -> int:
        """End all sessions through a node: `exit_drift`, or `drained` at the end of its drain."""
        return self.close_all(lambda session: session.choice.node.id == node, reason)

    async def drain(self, seconds: float) -> None:
        """Accept no more, let open connections end by themselves, and end the rest after so many seconds."""
        self.draining = True
        self._close_ports()
        for client in [*self._waiting, *self._clients]:
            client.close()
        deadline = self.now() + seconds
        while (self.sessions or self._opening) and self.now() < deadline:  # noqa: ASYNC110 - ends in many places
            await asyncio.sleep(_TICK)
        self.close_all(lambda _: True, "drained")

    def _close_ports(self) -> None:
        for port in self._ports:
            port.close()
        self._ports.clear()


def _forbidden(entry: str) -> Outcome:
    return replace(outcome.LOCAL, detail=f"forbidden destination ({entry})")
