"""Sessions and requests out of the records of Dante's log.

A connection is known by the client's endpoint and the proxy's, from its accept `[` to its accept `]`. The
request in it is decided once: granted by its own `[`, or, where begins are not logged, by a `]` that cannot
be a failed dial's; failed by a `]` that says why; no request if not a byte came. A granted request is a
session until its `]`. `associations` says how those by UDP are known, `connections` what a line means when
there are several between two endpoints, and when one is given up.

A session whose begin was never seen is counted, opened and closed, at its end, and has no duration. One that
is given up is counted closed, without a duration, and as lost: its child died, Dante was started anew, the
port came again, its end is not logged under the settings of then, or it was the oldest of too many.
"""

from collections.abc import Callable

from proxywatch.dante import reason as dante_reason
from proxywatch.dante.associations import Associations, payload
from proxywatch.dante.connections import ENDED, GRANTED, UNDECIDED, UNSEEN, Connection, Connections
from proxywatch.dante.counting import Counting, reason_of, service_of
from proxywatch.dante.readings import ended, joining
from proxywatch.dante.records import (
    UNKNOWN_DURATION,
    Ambiguous,
    Closed,
    Datagram,
    Moved,
    Opened,
    Record,
    Relayed,
    Server,
)
from proxywatch.dante.settings import LogSettings
from proxywatch.dante.totals import SavedSessions

_NOTHING = Moved(0, 0, 0)
_WENT_BACK = 60.0  # lines out of order are late by less


class Sessions:
    """The sessions of one log, as its records change them.

    Attributes:
        counting: What they came to.
        totals: Its counters.
        settings: What the log's settings let it show.
        clock: The latest time of the log, in seconds; 0 before the first record.
        version: Of Dante, once it said so.
        table: Connections.
        connections: Those of them that are accepted and not ended, by the client's endpoint and the proxy's.
        associations: Those by UDP.
    """

    def __init__(
        self,
        is_own: Callable[[bytes, float], bool],
        *,
        own_begins: Callable[[], tuple[bytes, ...]] = lambda: (b"",),
        span: float = 300.0,
        include_own: bool = True,
        capacity: int = 65536,
    ) -> None:
        """Start empty.

        Args:
            is_own: Whether a client's endpoint was one of our own probes' at a time.
            own_begins: How such endpoints begin.
            span: How far back the window must reach, in seconds.
            include_own: Whether requests of our own count among the requests.
            capacity: The most connections that are remembered.
        """
        self.counting = Counting(span=span, include_own=include_own)
        self.totals = self.counting.totals
        self.settings = LogSettings()
        self.clock = 0.0
        self.version = ""
        self.table = Connections(capacity, self.counting.lose)
        self.connections = self.table.last
        self.associations = Associations(capacity)
        self._is_own = is_own
        self._own_begins = own_begins
        self._mother = b""
        self._ending = False

    def add(self, record: Record) -> None:
        """Account for one record."""
        self._tick(record.time)
        self.table.look(int(record.time))
        self.apply(record)

    def apply(self, record: Record) -> None:
        """Account for one record of the second that the last one was of."""
        if isinstance(record, Closed):
            self._closed(record)
        elif isinstance(record, Opened):
            self._opened(record)
        elif isinstance(record, Relayed):
            self.settings.reads += 1
        elif isinstance(record, Datagram):
            self.counting.blocked(record)
        elif isinstance(record, Server):
            self._server(record)
        else:
            self._choose(record)

    def _choose(self, record: Ambiguous) -> None:
        readings = joining(record, self.table, self.associations)
        if len(readings) == 1:
            self.apply(readings[0])
            return
        self.totals.ambiguous += 1
        key = ended(readings)
        connection = self.connections.get(key) if self.table.is_alone(key) else None
        if connection is not None:  # which is sure, whatever else is not
            if connection.outcome == GRANTED:
                self.counting.end(connection, "other", 0, 0)
            self.table.forget(key, connection)

    def _tick(self, time: float) -> None:
        if time > self.clock or time < self.clock - _WENT_BACK:
            self.clock = time

    def accepted(self, key: bytes, time: float, pid: bytes) -> None:
        """A connection was accepted; `key` is the client's endpoint and the proxy's, a space between."""
        self.settings.begins += 1
        table = self.table
        last = table.last
        if key in last:
            table.doubt(key, time, "port_reused")
        if len(last) >= table.capacity:
            table.make_room()
        origin = self._origin(key, time) if key.startswith(self._own_begins()) else "client"
        last[key] = Connection(time, origin, UNDECIDED, "", pid)

    def disconnected(self, key: bytes, time: float) -> bool:
        """A connection ended; False where its record must tell."""
        connection = self.connections.get(key)
        if connection is None or not connection.finished:
            return False
        if not self.settings.proven or not self.table.is_alone(key):
            return False
        self.counting.lasted(connection, time, UNKNOWN_DURATION)
        del self.connections[key]
        return True

    def settle(self, time: float, setups: list[float], durations: list[float]) -> None:
        """Count clients' CONNECTs that were granted, and such that ended, and empty the lists of them.

        Args:
            time: Of the last line, in seconds; 0 for none.
            setups: From accept to connect of each that was granted in that second, in seconds.
            durations: Of each that ended, in seconds.
        """
        if time:
            self._tick(time)
        if setups:
            self.settings.grants += len(setups)
            self.counting.grant_all(time, setups)
            setups.clear()
        if durations:
            self.counting.end_all(durations)
            durations.clear()

    def _origin(self, key: bytes, time: float) -> str:
        if key.startswith(self._own_begins()) and self._is_own(key.partition(b" ")[0], time):
            return "self"
        return "client"

    def _appear(self, key: bytes, time: float) -> Connection:
        """A connection whose begin was not seen."""
        connection = Connection(UNSEEN, self._origin(key, time))
        self.table.add(key, connection)
        return connection

    # Begins

    def _opened(self, record: Opened) -> None:
        command = record.command
        if command == "accept":
            self.accepted(record.key, record.time, record.pid)
        elif command in {"connect", "bind"}:
            self._granted(record)
        elif command == "bindreply":
            connection = self.connections.get(record.key)
            if connection is not None:
                connection.pid = record.pid  # from now on it is served by the child that writes this
        elif command == "udpassociate":
            self._associated(record)

    def _granted(self, record: Opened) -> None:
        self.settings.grants += 1
        connection = self._granted_one(record.key, record.time)
        connection.pid = record.pid
        self.counting.grant(connection, record.command, record.time)
        if record.command == "connect":
            self.counting.set_up(connection, record.time)

    def _granted_one(self, key: bytes, time: float) -> Connection:
        connection = self.connections.get(key) or self.table.waiting(key)
        if connection is None:
            return self._appear(key, time)
        if connection.outcome == UNDECIDED:
            return connection
        if connection.finished:
            del self.connections[key]  # begins and ends of connections are not logged
        else:
            self.table.doubt(key, time, "port_reused")
        return self._appear(key, time)

    def _associated(self, record: Opened) -> None:
        self.settings.grants += 1
        oldest = self.associations.add(record.proxy, record.client)
        if oldest is not None:
            self.counting.lose_association(oldest)
            self.totals.lost["evicted"] += 1
        self.counting.grant(Connection(UNSEEN, "client"), "udpassociate", record.time)

    # Ends

    def _closed(self, record: Closed) -> None:
        command = record.command
        if command == "accept":
            self._connection_ended(record)
        elif command in {"connect", "bind"}:
            self._request_ended(record)
        elif command == "udpassociate":
            self._association_ended(record)
        elif command == "bindreply" and record.moved:
            self._reply_ended(record.key, record.time)
            self.counting.move("other", record.moved.received, record.moved.sent)

    def _reply_ended(self, key: bytes, time: float) -> None:
        """A peer came to a BIND and left, which is the end of it; its own lines may be ambiguous."""
        connection = self.connections.get(key)
        if connection is None or connection.finished:
            return
        if connection.outcome == UNDECIDED:
            self.counting.grant(connection, "bind", time)
        if connection.command == "bind":
            self.counting.end(connection, "other", 0, 0)

    def _learn(self, record: Closed, connection: Connection) -> None:
        if self.settings.proven or 0 <= connection.accepted < self.settings.since:
            return
        sort = dante_reason.sort(record.reason, passed=record.passed)
        granted = connection.outcome == GRANTED
        self.settings.learn(sort, of_connection=record.command == "accept", granted=granted)

    def _request_ended(self, record: Closed) -> None:
        key, reason = record.key, reason_of(record)
        connection = self._ended_one(key, record, granted=reason is None)
        self._learn(record, connection)
        if connection.outcome == UNDECIDED:
            if reason is not None:
                self.counting.fail(connection, reason, record)
                return
            self.counting.grant(connection, record.command, record.time)
        elif connection.outcome != GRANTED:
            return
        moved = record.moved
        if moved is None:
            self.counting.end(connection, "other", 0, 0)
        else:
            self.counting.end(connection, service_of(record.target), moved.received, moved.sent)
            self.counting.by_bytes.add(record.target, moved.received + moved.sent)

    def _ended_one(self, key: bytes, record: Closed, *, granted: bool) -> Connection:
        """The connection whose request ended; the child tells one that was granted from another."""
        if self.table.is_alone(key):
            connection = self.connections.get(key)
        else:
            wanted = (
                lambda it: it.outcome == GRANTED and it.pid == record.pid,
                lambda it: it.outcome == GRANTED,
                lambda it: it.outcome == UNDECIDED,
            )
            connection = self.table.first(key, *(wanted if granted else wanted[::-1]))
        if connection is not None and connection.accepted == UNSEEN and connection.finished:
            self.table.forget(key, connection)  # begins and ends of connections are not logged
            connection = None
        return connection or self._appear(key, record.time)

    def _connection_ended(self, record: Closed) -> None:
        key, moved = record.key, record.moved or _NOTHING
        if self.table.is_alone(key):
            connection = self.connections.get(key)
        else:
            outcome = GRANTED if moved.received or moved.sent else UNDECIDED
            wanted = (lambda it: it.finished, lambda it: it.outcome == outcome, lambda _: True)
            connection = self.table.first(key, *wanted)
        if connection is None:
            connection = self._appear(key, record.time)
        self._learn(record, connection)
        if connection.outcome == UNDECIDED and not self._of_association(connection, record):
            self._decide(connection, record)
        if connection.outcome == GRANTED:
            self.counting.end(connection, "other", moved.received, moved.sent)
        self.counting.lasted(connection, record.time, record.duration)
        self.table.forget(key, connection)

    def _decide(self, connection: Connection, record: Closed) -> None:
        """What became of a request of which nothing but the end of its connection tells."""
        if record.passed:
            reason = reason_of(record)
        elif not record.reason:
            reason = "client_rule"
        elif dante_reason.of_probe(record.reason):
            self.totals.probes += 1
            return
        else:
            reason = dante_reason.of_refusal(record.reason)
        if reason is None:
            self.counting.grant(connection, "connect" if record.moved else "bind", record.time)
        else:
            self.counting.fail(connection, reason, record)

    # Associations by UDP

    def _association_ended(self, record: Closed) -> None:
        connection = Connection(UNSEEN, "client", GRANTED, "udpassociate")
        relay = record.proxy
        association = self.associations.open.pop(relay, None)
        self._learn(record, connection)
        if association is not None:
            connection.lost = association.lost
        elif self.associations.is_repeated(record.pid, relay):
            connection.lost = True  # it was counted
        elif record.passed:
            self.counting.grant(connection, "udpassociate", record.time)
        else:
            return  # never granted: the end of its connection says so too
        moved = record.moved or _NOTHING
        received, sent = moved.received, payload(moved, record.target)
        self.counting.end(connection, service_of(record.target), received, sent)
        if record.target and not record.target.endswith(b".0"):  # which stands for several targets
            self.counting.by_bytes.add(record.target, received + sent)
        self.associations.ended(record.pid, relay, moved)

    def _of_association(self, connection: Connection, record: Closed) -> bool:
        """Whether a connection that ended was that of an association, which is accounted for by itself."""
        if not self.associations.owns(record):
            # Its own end may not be logged. Whoever has an association open is not dialling.
            relay = self.associations.of(record.client) if record.moved else None
            if relay is None or record.moved is None:
                return False
            del self.associations.open[relay]
            association = Connection(UNSEEN, "client", GRANTED, "udpassociate")
            self.counting.end(association, "other", record.moved.received, record.moved.sent)
        connection.outcome, connection.command = ENDED, "udpassociate"
        return True

    # The server

    def _server(self, record: Server) -> None:
        if record.event == "child_died":
            self.table.child_died(record.pid, record.time)
        elif record.event == "ending":
            self._ending = True
        else:
            if self.settings.disconnect is False:
                self.table.give_up_all("unlogged")
            elif record.event == "running":
                self._started(record)
            elif self.settings.disconnect is None:
                self.table.doubt_all(record.time, "unlogged")
            self.settings = self.settings.renewed(record.time)

    def _started(self, record: Server) -> None:
        """Somebody of a server that ended may be left; nobody of one that had the same numbers."""
        if self._ending and record.pid != self._mother:
            self.table.doubt_all(record.time, "server_killed")
        else:
            self.table.give_up_all("server_killed")
        for association in self.associations.open.values():
            self.counting.lose_association(association)  # its connection counts as lost
        self._ending, self._mother, self.version = False, record.pid, record.version

    # A restart

    def save(self) -> SavedSessions:
        """Everything, for `restore`; shares its parts, so encode it at once."""
        return SavedSessions(
            counting=self.counting.save(),
            settings=self.settings,
            clock=self.clock,
            version=self.version,
            mother=self._mother,
            ending=self._ending,
            connections=self.table.save(),
            associations=self.associations.save(),
        )

    def restore(self, saved: SavedSessions) -> None:
        """Go on from what `save` gave."""
        self.counting.restore(saved.counting)
        self.totals = self.counting.totals
        self.settings, self.clock = saved.settings, saved.clock
        self.version, self._mother, self._ending = saved.version, saved.mother, saved.ending
        self.table.restore(saved.connections)
        self.connections = self.table.last
        self.associations.restore(saved.associations)
