"""Sessions and requests out of the records of Dante's log.

A connection is known by the client's endpoint, from its accept `[` to its accept `]`. The request in it is
decided once: granted by its own `[`, or, where begins are not logged, by a `]` that cannot be a failed
dial's; failed by a `]` that says why; no request if not a byte came. A granted request is a session until its
`]`. An association by UDP has endpoints of its own: it is known by the proxy's, and its connection by its
end, which the same child writes next with the same sums.

A session whose begin was never seen is counted, opened and closed, at its end, and has no duration. One whose
end cannot come any more is counted closed, without a duration, and as lost: its child died, all of Dante was
killed, the client's port came again, or more than `capacity` connections were open and it was the oldest.
"""

from itertools import islice
from math import isfinite, nan

from proxywatch.parse import dante_reason
from proxywatch.parse.dante_log import Closed, Datagram, Moved, Opened, Record, Relayed, Server
from proxywatch.state.dante_books import FAILED, GRANTED, UNDECIDED, UNSEEN, Association, Connection
from proxywatch.state.ledger import Ledger
from proxywatch.state.log_settings import ENOUGH, LogSettings

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

    def accepted(self, client: bytes, time: float) -> None:
        """A connection was accepted."""
        self.settings.begins += 1
        connections = self.connections
        if client in connections:
            self._lose(client, "port_reused")
        if len(connections) >= self._capacity:
            self._evict()
        connections[client] = Connection(time, "self" if self._is_own(client, time) else "client")

    def disconnected(self, client: bytes, time: float) -> bool:
        """A connection ended; False where its record must tell."""
        connection = self.connections.get(client)
        if connection is None or not (connection.ended or connection.outcome == FAILED):
            return False
        if self.settings.ends < ENOUGH:
            return False  # it proves something about the settings
        self._disconnected(client, connection, time)
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

    def _disconnected(self, client: bytes, connection: Connection, time: float) -> None:
        accepted = connection.accepted
        if connection.outcome == GRANTED and accepted >= 0:
            duration = _elapsed(accepted, time)
            if isfinite(duration):
                self.durations.observe(duration)
                self.last_durations.append(duration)
        del self.connections[client]

    def _appear(self, client: bytes, time: float, accepted: float = UNSEEN) -> Connection:
        connections = self.connections
        if len(connections) >= self._capacity:
            self._evict()
        origin = "self" if self._is_own(client, time) else "client"
        connections[client] = connection = Connection(accepted, origin)
        return connection

    def _known(self, client: bytes, time: float) -> Connection:
        """The connection that a line names; one that was given up, or is new, if need be."""
        connection = self.connections.get(client)
        if connection is not None:
            return connection
        connection = self._orphans.pop(client, None)
        if connection is None:
            return self._appear(client, time)
        if len(self.connections) >= self._capacity:
            self._evict()
        self.connections[client] = connection
        return connection

    def _evict(self) -> None:
        # Some at once: to find the first key of a dict costs what was deleted before it.
        for client in list(islice(self.connections, max(1, self._capacity // 64))):
            self._lose(client, "evicted")

    def _opened(self, record: Opened) -> None:
        command = record.command
        if command == "accept":
            self.accepted(record.client, record.time)
        elif command in {"connect", "bind"}:
            self._granted(record)
        elif command == "udpassociate":
            self.settings.grants += 1
            if len(self._associations) >= self._capacity:
                self._lose_association(self._associations.pop(next(iter(self._associations))))
                self.totals.lost["evicted"] += 1
            self._associations[record.proxy] = Association(record.client.rpartition(b".")[0])
            self._grant(Connection(UNSEEN, "client"), command, record.time)

    def _granted(self, record: Opened) -> None:
        self.settings.grants += 1
        client, time = record.client, record.time
        connection = self._known(client, time)
        if connection.outcome:
            self._lose(client, "port_reused")
            connection = self._appear(client, time)
        connection.pid = record.pid
        self._grant(connection, record.command, time)
        accepted = connection.accepted
        if record.command == "connect" and accepted >= 0:
            self.setups.observe(_elapsed(accepted, time))

    def _grant(self, connection: Connection, command: str, time: float) -> None:
        connection.outcome = GRANTED
        connection.command = command
        self.totals.opened[command, connection.origin] += 1
        if self._include_own or connection.origin == "client":
            self.totals.successful += 1
            self.window.add(time, successful=True)

    def _closed(self, record: Closed) -> None:
        command = record.command
        if self.settings.ends < ENOUGH:
            self._learn(record)
        if command == "accept":
            self._connection_ended(record)
        elif command in {"connect", "bind"}:
            self._request_ended(record)
        elif command == "udpassociate":
            self._association_ended(record)
        elif command == "bindreply" and record.moved:
            self._move("other", record.moved.received, record.moved.sent)

    def _learn(self, record: Closed) -> None:
        settings = self.settings
        sort = dante_reason.sort(record.reason, passed=record.passed)
        if sort == "end":
            settings.ends += 1
        elif sort == "error":
            settings.errors += 1
        else:
            settings.refusals += 1

    def _request_ended(self, record: Closed) -> None:
        client = record.client
        connection = self._known(client, record.time)
        if connection.outcome == UNDECIDED:
            self._decide(connection, record.command, record)
        if connection.outcome != GRANTED or connection.ended:
            return
        if record.moved:
            self._relayed(connection, record.target, record.moved.received, record.moved.sent)
        else:
            self._end(connection, "other", 0, 0)

    def _relayed(self, connection: Connection, target: bytes, received: int, sent: int) -> None:
        connection.ended = True
        totals, service = self.totals, SERVICES.get(target[target.rfind(b".") + 1 :], "other")
        if not connection.lost:
            totals.closed[connection.command, connection.origin] += 1
        totals.received[service] += received
        totals.sent[service] += sent
        self.by_bytes.add(target, received + sent)

    def _decide(self, connection: Connection, command: str, record: Closed) -> None:
        """Decide a request by its end."""
        if not record.passed:
            granted = dante_reason.after_grant(record.reason)
            reason = None if granted else dante_reason.of_refusal(record.reason)
        elif record.moved and (record.moved.received or record.moved.sent or record.moved.returned):
            reason = None
        else:
            reason = dante_reason.of_dial(record.reason)
        if reason is None:
            self._grant(connection, command, record.time)
        else:
            self._fail(connection, reason, record)

    def _fail(self, connection: Connection, reason: str, record: Closed) -> None:
        connection.outcome = FAILED
        if connection.origin == "self" and not self._include_own:
            return
        self.totals.failures[reason] += 1
        if reason in self.totals.dns:
            self.totals.dns[reason] += 1
        self.window.add(record.time, successful=False)
        if record.target:
            self.by_failures.add(record.target, 1)
        self._recent.append((record, reason))

    def _end(self, connection: Connection, service: str, received: int, sent: int) -> None:
        connection.ended = True
        if not connection.lost:
            self.totals.closed[connection.command, connection.origin] += 1
        self._move(service, received, sent)

    def _move(self, service: str, received: int, sent: int) -> None:
        self.totals.received[service] += received
        self.totals.sent[service] += sent

    def _association_ended(self, record: Closed) -> None:
        association = self._associations.pop(record.proxy, None)
        connection = Connection(UNSEEN, "client", GRANTED, "udpassociate")
        if association is not None:
            connection.lost = association.lost
        elif record.passed:
            self._grant(connection, "udpassociate", record.time)
        else:
            return  # never granted: the end of its connection says so too
        moved, target = record.moved or _NOTHING, record.target
        # What the target sent, without the headers that the client got with it.
        self._end(connection, _service(target), moved.received, moved.returned)
        if target:
            self.by_bytes.add(target, moved.received + moved.returned)
        if len(self._association_ends) >= self._capacity:
            self._association_ends.clear()
        address = record.client.rpartition(b".")[0]
        self._association_ends[record.pid] = (address, moved.sent, moved.received)

    def _connection_ended(self, record: Closed) -> None:
        client, time = record.client, record.time
        connection = self._known(client, time)
        if connection.outcome == UNDECIDED and not self._of_association(connection, record):
            if not record.passed and dante_reason.of_probe(record.reason):
                self.totals.probes += 1
            elif not record.passed and not record.reason:
                self._fail(connection, "client_rule", record)
            else:
                self._decide(connection, "connect" if record.moved else "bind", record)
        if connection.outcome == GRANTED and not connection.ended:
            moved = record.moved or _NOTHING
            self._end(connection, "other", moved.received, moved.sent)
        self._disconnected(client, connection, time)

    def _of_association(self, connection: Connection, record: Closed) -> bool:
        """Whether a connection that ended was that of an association, which is accounted for by itself."""
        moved = record.moved
        if moved is None:
            return False
        address = record.client.rpartition(b".")[0]
        end = self._association_ends.pop(record.pid, None)
        if end != (address, moved.sent, moved.received):
            # Its own end may not be logged. Whoever has an association open is not dialling.
            proxy = next(
                (key for key, it in self._associations.items() if it.client == address and not it.lost), None
            )
            if proxy is None:
                return False
            del self._associations[proxy]
            association = Connection(UNSEEN, "client", GRANTED, "udpassociate")
            self._end(association, "other", moved.received, moved.sent)
        connection.outcome, connection.command, connection.ended = GRANTED, "udpassociate", True
        return True

    def _blocked_datagram(self, record: Datagram) -> None:
        self.totals.blocked_datagrams += 1
        kind = dante_reason.of_resolver(record.reason)
        if kind is not None:
            self.totals.dns[kind] += 1

    def _server(self, record: Server) -> None:
        if record.event == "reloaded":
            self.settings = LogSettings()
        elif record.event == "child_died":
            for client in [key for key, it in self.connections.items() if it.pid == record.pid]:
                self._lose(client, "child_died")
        elif record.event == "ending":
            self._ending = True
        elif record.event == "running":
            self.version = record.version
            self.settings = LogSettings()
            if not self._ending:
                # Nobody said good-bye, so nobody is left to write the ends; unless two servers share a log.
                orphans = dict(self.connections)
                for client in orphans:
                    self._lose(client, "server_killed")
                self._orphans = orphans
                for association in self._associations.values():
                    self._lose_association(association)  # its connection was counted as lost
            self._ending = False

    def _lose_association(self, association: Association) -> None:
        if not association.lost:
            association.lost = True
            self.totals.closed["udpassociate", "client"] += 1

    def _lose(self, client: bytes, cause: str) -> None:
        connection = self.connections.pop(client)
        if connection.ended or connection.lost:
            return
        self.totals.lost[cause] += 1
        if connection.outcome == GRANTED:
            self.totals.closed[connection.command, connection.origin] += 1
            connection.lost = True


def _elapsed(since: float, until: float) -> float:
    """Seconds; NaN when the clock was set back meanwhile."""
    if until >= since - 1:
        return max(0.0, until - since)
    into_the_new_year = until - since + _YEAR
    return into_the_new_year if since < _UNIX and into_the_new_year < _LONG else nan


def _service(target: bytes) -> str:
    return SERVICES.get(target[target.rfind(b".") + 1 :], "other")
