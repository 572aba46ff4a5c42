"""Which of the readings is true where a name in a line lets it be read in several ways."""

from proxywatch.dante.associations import Associations
from proxywatch.dante.connections import UNDECIDED, Connection, Connections
from proxywatch.dante.records import Ambiguous, Closed, Opened

Reading = Opened | Closed


def joining(record: Ambiguous, table: Connections, associations: Associations) -> list[Reading]:
    """The readings that join an open session: the true one is among them, if that session is known."""
    return [reading for reading in record.readings if _joins(reading, table, associations)]


def ended(readings: list[Reading]) -> bytes:
    """The connection that ended by all of some readings of one line; empty where they differ."""
    keys = {it.key for it in readings if isinstance(it, Closed) and it.command == "accept"}
    return keys.pop() if len(keys) == 1 and len(readings) > 1 else b""


def _joins(reading: Reading, table: Connections, associations: Associations) -> bool:
    if reading.command == "udpassociate":
        return reading.proxy in associations.open
    if isinstance(reading, Opened):
        return table.first(reading.key, lambda it: it.outcome == UNDECIDED) is not None
    return table.first(reading.key, lambda it: _ends(reading, it)) is not None


def _ends(reading: Closed, connection: Connection) -> bool:
    """Whether the line can be about that connection: of no other command than the one that was granted."""
    if reading.command == "accept":
        return True
    command = "bind" if reading.command == "bindreply" else reading.command
    if connection.finished:
        return command == "bind" == connection.command  # its own end comes after its reply's
    return connection.command in ("", command)
