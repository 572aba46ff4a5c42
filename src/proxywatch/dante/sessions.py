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

from math import isfinite, nan

from proxywatch.dante import reason as dante_reason
from proxywatch.dante.associations import Association, payload
from proxywatch.dante.connections import ENDED, FAILED, GRANTED, UNDECIDED, UNSEEN, Connection
from proxywatch.dante.ledger import Ledger
from proxywatch.dante.line import Closed, Datagram, Moved, Opened, Record, Relayed, Server
from proxywatch.dante.settings import LogSettings

SERVICES = {b"80": "http", b"443": "https", b"53": "dns"}
_NOTHING = Moved(0, 0, 0)
_WENT_BACK = 60.0  # lines out of order are late by less
_UNIX = 1e9  # a stamp below is none of Unix time: syslog's, which begins anew with the year
_YEAR = 31_622_400.0
_LONG = 31 * 86400.0


class Sessions(Ledger):
    """The account of one log, as its records change it."""

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
            self._blocked_datagram(record)
        else:
            self._server(record)

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
        last[key] = Connection(time, self._origin(key, time), UNDECIDED, "", pid)

    def disconnected(self, key: bytes, time: float) -> bool:
        """A connection ended; False where its record must tell."""
        connection = self.connections.get(key)
        if connection is None or not connection.finished:
            return False
        if not self.settings.proven or not self.table.is_alone(key):
            return False
        self._lasted(connection, time)
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
            count = len(setups)
            self.settings.grants += count
            self.totals.opened["connect", "client"] += count
            self.totals.successful += count
            self.window.add(time, successful=True, count=count)
            self.setups.observe_all(setups)
            setups.clear()
        if durations:
            self.totals.closed["connect", "client"] += len(durations)
            self.durations.observe_all(durations)
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
        self._grant(connection, record.command, record.time)
        if record.command == "connect" and connection.accepted >= 0:
            self.setups.observe(_elapsed(connection.accepted, record.time))

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
            self._lose_association(oldest)
            self.totals.lost["evicted"] += 1
        self._grant(Connection(UNSEEN, "client"), "udpassociate", record.time)

    def _grant(self, connection: Connection, command: str, time: float) -> None:
        connection.outcome = GRANTED
        connection.command = command
        self.totals.opened[command, connection.origin] += 1
        if self._include_own or connection.origin == "client":
            self.totals.successful += 1
            self.window.add(time, successful=True)

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
            self._move("other", record.moved.received, record.moved.sent)

    def _learn(self, record: Closed, connection: Connection) -> None:
        if self.settings.proven or 0 <= connection.accepted < self.settings.since:
            return
        sort = dante_reason.sort(record.reason, passed=record.passed)
        granted = connection.outcome == GRANTED
        self.settings.learn(sort, of_connection=record.command == "accept", granted=granted)

    def _request_ended(self, record: Closed) -> None:
        key, reason = record.key, _reason(record)
        connection = self._ended_one(key, record, granted=reason is None)
        self._learn(record, connection)
        if connection.outcome == UNDECIDED:
            if reason is not None:
                self._fail(connection, reason, record)
                return
            self._grant(connection, record.command, record.time)
        elif connection.outcome != GRANTED:
            return
        moved = record.moved
        if moved is None:
            self._end(connection, "other", 0, 0)
        else:
            self._end(connection, _service(record.target), moved.received, moved.sent)
            self.by_bytes.add(record.target, moved.received + moved.sent)

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

    def _fail(self, connection: Connection, reason: str, record: Closed) -> None:
        connection.outcome = FAILED
        if connection.origin == "self" and not self._include_own:
            return
        self.totals.failures[reason] += 1
        target = record.target
        if reason in self.totals.dns:
            self.totals.dns[reason] += 1
            target = target or dante_reason.unresolved_name(record.reason)
        self.window.add(record.time, successful=False)
        if target:
            self.by_failures.add(target, 1)
        self._recent.append((record, reason))

    def _end(self, connection: Connection, service: str, received: int, sent: int) -> None:
        connection.outcome = ENDED
        if not connection.lost:
            self.totals.closed[connection.command, connection.origin] += 1
        self._move(service, received, sent)

    def _move(self, service: str, received: int, sent: int) -> None:
        self.totals.received[service] += received
        self.totals.sent[service] += sent

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
            self._end(connection, "other", moved.received, moved.sent)
        self._lasted(connection, record.time)
        self.table.forget(key, connection)

    def _decide(self, connection: Connection, record: Closed) -> None:
        """What became of a request of which nothing but the end of its connection tells."""
        if record.passed:
            reason = _reason(record)
        elif not record.reason:
            reason = "client_rule"
        elif dante_reason.of_probe(record.reason):
            self.totals.probes += 1
            return
        else:
            reason = dante_reason.of_refusal(record.reason)
        if reason is None:
            self._grant(connection, "connect" if record.moved else "bind", record.time)
        else:
            self._fail(connection, reason, record)

    def _lasted(self, connection: Connection, time: float) -> None:
        """Note how long a session was, if it was one and its begin was seen."""
        if connection.outcome == ENDED and connection.accepted >= 0:
            duration = _elapsed(connection.accepted, time)
            if isfinite(duration):
                self.durations.observe(duration)
                self.last_durations.append(duration)

    # Associations by UDP

    def _association_ended(self, record: Closed) -> None:
        connection = Connection(UNSEEN, "client", GRANTED, "udpassociate")
        relay = record.proxy
        association = self.associations.open.pop(relay, None)
        self._learn(record, connection)
        if association is not None:
            connection.lost = association.lost
        elif self.associations.is_told(record.pid, relay):
            connection.lost = True  # it was counted
        elif record.passed:
            self._grant(connection, "udpassociate", record.time)
        else:
            return  # never granted: the end of its connection says so too
        moved = record.moved or _NOTHING
        received, sent = moved.received, payload(moved, record.target)
        self._end(connection, _service(record.target), received, sent)
        if record.target and not record.target.endswith(b".0"):  # which stands for several targets
            self.by_bytes.add(record.target, received + sent)
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
            self._end(association, "other", record.moved.received, record.moved.sent)
        connection.outcome, connection.command = ENDED, "udpassociate"
        return True

    def _lose_association(self, association: Association) -> None:
        if not association.lost:
            association.lost = True
            self.totals.closed["udpassociate", "client"] += 1

    def _blocked_datagram(self, record: Datagram) -> None:
        self.totals.blocked_datagrams += 1
        kind = dante_reason.of_resolver(record.reason)
        if kind is not None:
            self.totals.dns[kind] += 1

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
            self.settings = LogSettings(since=record.time)

    def _started(self, record: Server) -> None:
        """Somebody of a server that ended may be left; nobody of one that had the same numbers."""
        if self._ending and record.pid != self._mother:
            self.table.doubt_all(record.time, "server_killed")
        else:
            self.table.give_up_all("server_killed")
        for association in self.associations.open.values():
            self._lose_association(association)  # its connection counts as lost
        self._ending, self._mother, self.version = False, record.pid, record.version


def _reason(record: Closed) -> str | None:
    """Why a request failed that ended like this; None when it was granted."""
    if not record.passed:
        return dante_reason.of_refusal(record.reason)
    moved = record.moved
    if moved and (moved.received or moved.sent or moved.returned):
        return None
    return dante_reason.of_dial(record.reason)


def _elapsed(since: float, until: float) -> float:
    """Seconds; NaN when the clock was set back meanwhile."""
    if until >= since - 1:
        return max(0.0, until - since)
    into_the_new_year = until - since + _YEAR
    return into_the_new_year if since < _UNIX and into_the_new_year < _LONG else nan


def _service(target: bytes) -> str:
    return SERVICES.get(target[target.rfind(b".") + 1 :], "other")
