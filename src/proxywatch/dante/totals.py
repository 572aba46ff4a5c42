"""What is kept of a log: every counter, and what a restart needs."""

from typing import Any, Self

import msgspec

from proxywatch.dante.associations import SavedAssociations
from proxywatch.dante.connections import SavedConnections
from proxywatch.dante.reason import REASONS
from proxywatch.dante.records import Closed
from proxywatch.dante.settings import LogSettings

COMMANDS = ("connect", "bind", "udpassociate")
ORIGINS = ("client", "self")
SERVICES = ("http", "https", "dns", "other")
CAUSES = ("child_died", "server_killed", "port_reused", "unlogged", "evicted")
DNS_KINDS = ("dns_not_found", "dns_no_address", "dns_temporary", "dns_error")

_WORDS = 200


class Failure(msgspec.Struct, frozen=True):
    """One failed request, for people.

    Attributes:
        time: Unix time in seconds.
        reason: One of REASONS.
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

    @classmethod
    def of(cls, record: Closed, reason: str) -> Self:
        """The failure that an end tells of."""
        blame = REASONS[reason]
        texts = (record.client, record.target, record.reason[:_WORDS])
        return cls(record.time, reason, blame, *(text.decode(errors="backslashreplace") for text in texts))


def _zeros(first: tuple[str, ...], second: tuple[str, ...]) -> dict[tuple[str, str], int]:
    return {(one, other): 0 for one in first for other in second}


class Totals(msgspec.Struct):
    """Every counter. Labels that are known exist from the start.

    Attributes:
        opened, closed: Sessions by (command, origin).
        received, sent: Bytes from and to clients by service.
        successful: Requests granted.
        failures: Failed requests by reason.
        dns: Names that did not resolve, requests' and datagrams', by kind.
        lost: Sessions whose end never came, by cause.
        probes: Connections that ended without a byte.
        ambiguous: Lines that a name in them let be read in several ways, so that they moved nothing.
        blocked_datagrams: Datagrams that were not forwarded.
    """

    opened: dict[tuple[str, str], int] = msgspec.field(default_factory=lambda: _zeros(COMMANDS, ORIGINS))
    closed: dict[tuple[str, str], int] = msgspec.field(default_factory=lambda: _zeros(COMMANDS, ORIGINS))
    received: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(SERVICES, 0))
    sent: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(SERVICES, 0))
    successful: int = 0
    failures: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    dns: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(DNS_KINDS, 0))
    lost: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(CAUSES, 0))
    probes: int = 0
    blocked_datagrams: int = 0
    ambiguous: int = 0

    @property
    def failed(self) -> int:
        """Failed requests of every reason."""
        return sum(self.failures.values())

    def completed(self) -> Self:
        """The same with every known label and no other, whatever version they were saved by."""
        fresh = type(self)()
        labelled = ("opened", "closed", "received", "sent", "failures", "dns", "lost")
        kept: dict[str, Any] = {
            name: {label: getattr(self, name).get(label, 0) for label in getattr(fresh, name)}
            for name in labelled
        }
        return msgspec.structs.replace(self, **kept)

    def ended(self) -> tuple[int, int | None]:
        """Connections to the proxy that ended, and payload both ways; that is None where some went by UDP."""
        connections = sum(self.closed.values()) + self.failed + self.probes
        if any(count for (command, _), count in self.closed.items() if command == "udpassociate"):
            return connections, None
        return connections, sum(self.received.values()) + sum(self.sent.values())


class SavedCounting(msgspec.Struct):
    """What was counted, as a restart needs it."""

    totals: Totals
    durations: tuple[list[int], float]
    setups: tuple[list[int], float]
    last_durations: list[float]
    window: list[list[int]]
    by_bytes: tuple[int, dict[bytes, int]]
    by_failures: tuple[int, dict[bytes, int]]
    recent: list[tuple[Closed, str]]


class SavedSessions(msgspec.Struct):
    """Everything about the sessions, as a restart needs it."""

    counting: SavedCounting
    settings: LogSettings
    clock: float
    version: str
    mother: bytes
    ending: bool
    connections: SavedConnections
    associations: SavedAssociations
