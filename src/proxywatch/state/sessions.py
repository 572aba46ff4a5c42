"""Sessions and requests out of the records of Dante's log.

A connection is known by the client's endpoint, from its accept `[` to its accept `]`. The request in it is
decided once: granted by its own `[`, or, where begins are not logged, by a `]` that cannot be a failed dial's;
failed by a `]` that says why; no request if not a byte came. A granted request is a session until its `]`.
An association by UDP has endpoints of its own: it is known by the proxy's, and its connection by its end, which
the same child writes next with the same sums.

A session whose begin was never seen is counted, opened and closed, at its end and has no duration. One whose
end cannot come any more is counted closed, without a duration, and as lost: its child died, all of Dante was
killed, the client's port came again, or more than `capacity` connections were open and it was the oldest.
"""

from collections import deque
from collections.abc import Callable

import msgspec

from proxywatch.parse import dante_reason
from proxywatch.parse.dante_log import Closed, Datagram, Moved, Opened, Record, Server
from proxywatch.state.distribution import Distribution
from proxywatch.state.log_settings import LogSettings
from proxywatch.state.sketch import TopKeys
from proxywatch.state.window import Window

COMMANDS = ("connect", "bind", "udpassociate")
ORIGINS = ("client", "self")
SERVICES = ("http", "https", "dns", "other")
CAUSES = ("child_died", "server_killed", "port_reused", "evicted")
DNS_KINDS = ("dns_not_found", "dns_no_address", "dns_temporary", "dns_error")
DURATION_BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0)
SETUP_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_PORTS = {b"80": "http", b"443": "https", b"53": "dns"}
_UNDECIDED, _GRANTED, _FAILED = 0, 1, 2
_UNSEEN = -1.0
_WENT_BACK = 3600.0


class Connection(msgspec.Struct, array_like=True, gc=False):
    """One client's connection: when it was accepted (-1: not seen), whose, and what became of its request."""

    accepted: float
    own: bool
    outcome: int = _UNDECIDED
    command: str = ""
    pid: int = 0
    ended: bool = False


class Association(msgspec.Struct, array_like=True, gc=False):
    """One granted UDP ASSOCIATE: the client's address, without the port."""

    client: bytes


class Failure(msgspec.Struct, frozen=True):
    """One failed request, for people.

    Attributes:
        time: Unix time in seconds.
        reason: One of dante_reason.REASONS.
        blame: Whose fault.
        client: The client's endpoint.
        destination: What was asked for; empty where it was not known yet.
        text: The server's own words, cut.
    """

    time: float
    reason: str
    blame: str
    client: str
    destination: str
    text: str


class Totals(msgspec.Struct):
    """Every counter. Labels that are known exist from the start.

    Attributes:
        opened, closed: Sessions by (command, origin).
        received, sent: Bytes from and to clients by service.
        successful: Requests granted.
        failures: Failed requests by reason.
        dns: Names that did not resolve, requests' and datagrams', by kind.
        lost: Sessions whose end never came, by cause.
        accepted, ended: Clients' connections, health checks included.
        probes: Connections that ended without a byte.
        blocked_datagrams: Datagrams that were not forwarded.
    """

    opened: dict[tuple[str, str], int] = msgspec.field(default_factory=lambda: _zeros(COMMANDS, ORIGINS))
    closed: dict[tuple[str, str], int] = msgspec.field(default_factory=lambda: _zeros(COMMANDS, ORIGINS))
    received: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(SERVICES, 0))
    sent: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(SERVICES, 0))
    successful: int = 0
    failures: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(dante_reason.REASONS, 0))
    dns: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(DNS_KINDS, 0))
    lost: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(CAUSES, 0))
    accepted: int = 0
    ended: int = 0
    probes: int = 0
    blocked_datagrams: int = 0


class Saved(msgspec.Struct):
    """Everything that a restart needs."""

    totals: Totals
    settings: LogSettings
    clock: float
    ending: bool
    version: str
    connections: dict[bytes, Connection]
    associations: dict[bytes, Association]
    durations: tuple[list[int], float]
    setups: tuple[list[int], float]
    last_durations: list[float]
    window: list[list[int]]
    by_bytes: tuple[int, dict[bytes, int]]
    by_failures: tuple[int, dict[bytes, int]]
    recent: list[Failure]


def _zeros(first: tuple[str, ...], second: tuple[str, ...]) -> dict[tuple[str, str], int]:
    return {(one, other): 0 for one in first for other in second}


class Sessions:
    """The account of one log.

    Attributes:
        totals: The counters.
        settings: What the log's settings let it tell.
        clock: The latest time of the log, in seconds; 0 before the first record.
        version: Of Dante, once it said so.
        durations: Sessions from accept to accept, in seconds.
        setups: From accept to connect, in seconds.
        last_durations: Of the last 100 sessions.
        window: Requests by second.
        by_bytes, by_failures: The heaviest destinations.
        recent: The last failures.
    """

    def __init__(
        self,
        is_own: Callable[[bytes, float], bool],
        *,
        span: float = 300.0,
        include_own: bool = True,
        capacity: int = 65536,
    ) -> None:
        """Start empty.

        Args:
            is_own: Whether a client's endpoint was one of our own probes' at a time.
            span: How far back the window must reach, in seconds.
            include_own: Whether requests of our own count among the requests.
            capacity: The most connections that are remembered.
        """
        self.totals = Totals()
        self.settings = LogSettings()
        self.clock = 0.0
        self.version = ""
        self.durations = Distribution(DURATION_BOUNDS)
        self.setups = Distribution(SETUP_BOUNDS)
        self.last_durations: deque[float] = deque(maxlen=100)
        self.window = Window(span)
        self.by_bytes = TopKeys(512)
        self.by_failures = TopKeys(512)
        self.recent: deque[Failure] = deque(maxlen=50)
        self._is_own = is_own
        self._include_own = include_own
        self._capacity = capacity
        self._connections: dict[bytes, Connection] = {}
        self._associations: dict[bytes, Association] = {}
        self._datagram_ends: dict[int, tuple[bytes, int, int]] = {}
        self._ending = False

    @property
    def open(self) -> int:
        """Connections of clients that were accepted and have not ended."""
        return len(self._connections)

    def add(self, record: Record) -> None:
        """Account for one record."""
        time = record.time
        if time > self.clock or time < self.clock - _WENT_BACK:
            self.clock = time
        if isinstance(record, Opened):
            if record.command == "accept":
                self._accepted(record)
            else:
                self._granted(record)
        elif isinstance(record, Closed):
            self._closed(record)
        elif isinstance(record, Datagram):
            self._blocked_datagram(record)
        elif isinstance(record, Moved):
            self.settings.reads += 1
        else:
            self._server(record)

    def _accepted(self, record: Opened) -> None:
        client = record.client
        self.settings.begins += 1
        if client in self._connections:
            self._lose(client, "port_reused")
        self._connection(client, record.time).accepted = record.time

    def _connection(self, client: bytes, time: float) -> Connection:
        """The connection of a client, a new one if it is not known."""
        connections = self._connections
        connection = connections.get(client)
        if connection is None:
            if len(connections) >= self._capacity:
                self._lose(next(iter(connections)), "evicted")
            connection = connections[client] = Connection(_UNSEEN, self._is_own(client, time))
            self.totals.accepted += 1
        return connection

    def _granted(self, record: Opened) -> None:
        command = record.command
        if command == "udpassociate":
            self.settings.grants += 1
            if len(self._associations) >= self._capacity:
                del self._associations[next(iter(self._associations))]
            self._associations[record.proxy] = Association(record.client.rpartition(b".")[0])
            self._grant(Connection(_UNSEEN, own=False), command, record.time)
        elif command in {"connect", "bind"}:
            self.settings.grants += 1
            connection = self._connection(record.client, record.time)
            if connection.outcome:
                self._lose(record.client, "port_reused")
                connection = self._connection(record.client, record.time)
            connection.pid = record.pid
            self._grant(connection, command, record.time)
            if command == "connect" and connection.accepted >= 0:
                self.setups.observe(max(0.0, record.time - connection.accepted))

    def _grant(self, connection: Connection, command: str, time: float) -> None:
        connection.outcome = _GRANTED
        connection.command = command
        self.totals.opened[command, "self" if connection.own else "client"] += 1
        if self._include_own or not connection.own:
            self.totals.successful += 1
            self.window.add(time, successful=True)

    def _fail(self, connection: Connection, reason: str, record: Closed) -> None:
        connection.outcome = _FAILED
        if connection.own and not self._include_own:
            return
        self.totals.failures[reason] += 1
        if reason in self.totals.dns:
            self.totals.dns[reason] += 1
        self.window.add(record.time, successful=False)
        if record.target:
            self.by_failures.add(record.target, 1)
        self.recent.append(
            Failure(
                record.time,
                reason,
                dante_reason.REASONS[reason],
                _text(record.client),
                _text(record.target),
                _text(record.reason[:200]),
            )
        )

    def _closed(self, record: Closed) -> None:
        command = record.command
        self._learn(record)
        if command == "connect":
            self._connect_ended(record)
        elif command == "accept":
            self._connection_ended(record)
        elif command == "bind":
            self._bind_ended(record)
        elif command == "udpassociate":
            self._association_ended(record)
        elif command == "bindreply" and record.counted:
            self._moved("other", record.received, record.sent)

    def _learn(self, record: Closed) -> None:
        settings = self.settings
        if record.command == "accept":
            settings.accept_ends += 1
        if not record.passed and (not record.reason or dante_reason.by_rule(record.reason)):
            settings.refusals += 1
        elif record.passed and not dante_reason.is_error(record.reason):
            settings.ends += 1
        else:
            settings.errors += 1

    def _connect_ended(self, record: Closed) -> None:
        connection = self._connection(record.client, record.time)
        if connection.outcome == _UNDECIDED:
            self._decide(connection, "connect", record)
        if connection.outcome == _GRANTED and not connection.ended:
            connection.ended = True
            target = record.target
            self.totals.closed["connect", "self" if connection.own else "client"] += 1
            self._moved(_PORTS.get(target.rpartition(b".")[2], "other"), record.received, record.sent)
            self.by_bytes.add(target, record.received + record.sent)

    def _decide(self, connection: Connection, command: str, record: Closed) -> None:
        """Decide a request by its end."""
        if not record.passed:
            granted = dante_reason.after_grant(record.reason)
            reason = None if granted else dante_reason.of_refusal(record.reason)
        elif record.received or record.sent or record.returned:
            reason = None
        else:
            reason = dante_reason.of_dial(record.reason)
        if reason is None:
            self._grant(connection, command, record.time)
        else:
            self._fail(connection, reason, record)

    def _bind_ended(self, record: Closed) -> None:
        connection = self._connection(record.client, record.time)
        if connection.outcome == _UNDECIDED:
            self._decide(connection, "bind", record)
        if connection.outcome == _GRANTED and not connection.ended:
            connection.ended = True
            self.totals.closed["bind", "self" if connection.own else "client"] += 1

    def _association_ended(self, record: Closed) -> None:
        association = self._associations.pop(record.proxy, None)
        if association is None:
            if not record.passed:
                return  # never granted: the connection's own end says so too
            self._grant(Connection(_UNSEEN, own=False), "udpassociate", record.time)
        self.totals.closed["udpassociate", "client"] += 1
        service = _PORTS.get(record.target.rpartition(b".")[2], "other")
        self._moved(service, record.received, record.returned)
        if record.target:
            self.by_bytes.add(record.target, record.received + record.returned)
        if len(self._datagram_ends) >= self._capacity:
            self._datagram_ends.clear()
        self._datagram_ends[record.pid] = (record.client.rpartition(b".")[0], record.sent, record.received)

    def _connection_ended(self, record: Closed) -> None:
        client = record.client
        connection = self._connection(client, record.time)
        if connection.outcome == _UNDECIDED and not self._of_association(connection, record):
            if not record.passed and dante_reason.of_probe(record.reason):
                self.totals.probes += 1
                connection.outcome = _FAILED
            elif not record.passed and not record.reason:
                self._fail(connection, "client_rule", record)
            else:
                self._decide(connection, "connect" if record.counted else "bind", record)
        if connection.outcome == _GRANTED:
            if not connection.ended:
                self.totals.closed[connection.command, "self" if connection.own else "client"] += 1
                self._moved("other", record.received, record.sent)
            if connection.accepted >= 0:
                duration = max(0.0, record.time - connection.accepted)
                self.durations.observe(duration)
                self.last_durations.append(duration)
        del self._connections[client]
        self.totals.ended += 1

    def _of_association(self, connection: Connection, record: Closed) -> bool:
        """Whether a connection that ended was that of an association, which is accounted for by itself."""
        address = record.client.rpartition(b".")[0]
        end = self._datagram_ends.pop(record.pid, None) if record.counted else None
        if end != (address, record.sent, record.received):
            relay = next((key for key, it in self._associations.items() if it.client == address), None)
            if relay is None or not record.passed:
                return False
            del self._associations[relay]
            self.totals.closed["udpassociate", "client"] += 1
            self._moved("other", record.received, record.sent)
        connection.outcome = _GRANTED
        connection.command = "udpassociate"
        connection.ended = True
        return True

    def _moved(self, service: str, received: int, sent: int) -> None:
        self.totals.received[service] += received
        self.totals.sent[service] += sent

    def _blocked_datagram(self, record: Datagram) -> None:
        self.totals.blocked_datagrams += 1
        kind = dante_reason.of_resolver(record.reason)
        if kind is not None:
            self.totals.dns[kind] += 1

    def _server(self, record: Server) -> None:
        if record.event == "child_died":
            for client in [key for key, it in self._connections.items() if it.pid == record.pid]:
                self._lose(client, "child_died")
        elif record.event == "ending":
            self._ending = True
        elif record.event == "running":
            self.version = record.version
            if not self._ending:
                # Nobody said good-bye, so nobody is left to write the ends.
                for client in list(self._connections):
                    self._lose(client, "server_killed")
                self._associations.clear()
            self._ending = False

    def _lose(self, client: bytes, cause: str) -> None:
        connection = self._connections.pop(client)
        self.totals.ended += 1
        if connection.ended:
            return
        self.totals.lost[cause] += 1
        if connection.outcome == _GRANTED:
            self.totals.closed[connection.command, "self" if connection.own else "client"] += 1

    def save(self) -> Saved:
        """Everything, for `restore`; shares its parts with the account, so encode it at once."""
        return Saved(
            self.totals,
            self.settings,
            self.clock,
            self._ending,
            self.version,
            self._connections,
            self._associations,
            (self.durations.counts, self.durations.sum),
            (self.setups.counts, self.setups.sum),
            list(self.last_durations),
            self.window.save(),
            self.by_bytes.save(),
            self.by_failures.save(),
            list(self.recent),
        )

    def restore(self, saved: Saved) -> None:
        """Go on from what `save` gave."""
        self.totals, self.settings, self.clock = saved.totals, saved.settings, saved.clock
        self._ending, self.version = saved.ending, saved.version
        self._connections, self._associations = saved.connections, saved.associations
        self.durations.counts, self.durations.sum = saved.durations
        self.setups.counts, self.setups.sum = saved.setups
        self.last_durations.extend(saved.last_durations)
        self.window.restore(saved.window)
        self.by_bytes.restore(saved.by_bytes)
        self.by_failures.restore(saved.by_failures)
        self.recent.extend(saved.recent)


def _text(text: bytes) -> str:
    return text.decode(errors="backslashreplace")
