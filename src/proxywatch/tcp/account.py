"""The kernel's account of a proxy's connections: rows and messages in, totals out."""

from collections.abc import Callable, Iterable

from proxywatch.errors import ParseError
from proxywatch.parse import tcp_info
from proxywatch.tcp.balance import Balance, Openings
from proxywatch.tcp.comparison import Ended
from proxywatch.tcp.connections import Connections
from proxywatch.tcp.report import Report, known_sides, report_of
from proxywatch.tcp.sides import Sides
from proxywatch.tcp.totals import CLIENT, UPSTREAM, Totals

CAUSES = ("buffer", "unreported", "unattributed", "zeroed", "unparsed")


class TcpAccount:
    """Everything that is known of a proxy's connections. All times are monotonic seconds.

    Attributes:
        sides: Which connection is on which side.
        connections: The living and what those that ended came to.
        lost: Reports that the kernel dropped, as its socket counts them.
        unparsed: Rows and reports of an unknown format.
    """

    def __init__(
        self, port: int, is_own: Callable[[bytes, int], bool], is_local: Callable[[bytes], bool]
    ) -> None:
        """Start empty.

        Args:
            port: The proxy's.
            is_own: Whether an address and port are, or just were, those of a socket of our own probes.
            is_local: Whether an address is one of this machine.
        """
        self.sides = Sides(port, is_own, is_local)
        self.connections = Connections(self.sides)
        self.lost = self.unparsed = 0
        self._balance = Balance()

    def ends(self, reports: Iterable[bytes], now: float, *, probing: bool) -> None:
        """Take the kernel's reports of sockets that ended.

        Args:
            reports: As they came.
            now: When they were read.
            probing: Whether a probe of ours runs.
        """
        connections = self.connections
        connections.probes.observe(now, running=probing)
        for report in reports:
            try:
                counters = tcp_info.counters(report)
                if counters is not None:
                    connections.ended(tcp_info.row(report), counters, now)
            except ParseError:
                self.unparsed += 1

    def listener(self, row: bytes, now: float) -> None:
        """Take a socket that listens, as a look found it."""
        try:
            self.sides.listens(tcp_info.row(row), tcp_info.cgroup(row), now)
        except ParseError:
            self.unparsed += 1

    def living(self, row: bytes) -> None:
        """Take a connection that a look found."""
        try:
            counters = tcp_info.counters(row)
            if counters is not None:
                self.connections.seen(tcp_info.row(row), counters, tcp_info.cgroup(row))
        except ParseError:
            self.unparsed += 1

    def compare(self, snmp: bytes) -> None:
        """Compare with the kernel's own counts of all connections, after a look at all.

        Raises:
            ParseError: They do not follow their format.
        """
        it = self.connections
        self._balance.observe(Openings.parse(snmp), it.reported + self.lost, it.failed, it.living)

    # Figures

    def known(self) -> dict[str, Totals]:
        """The sides whose connections can be told; none before the proxy has been seen."""
        return known_sides(self.connections, self.sides.scope) if self.sides.served else {}

    def missed(self) -> dict[str, int]:
        """What is not in the totals, by CAUSES."""
        it = self.connections
        counts = (self.lost, self._balance.unreported, it.unattributed, it.zeroed, self.unparsed)
        return dict(zip(CAUSES, counts, strict=True))

    def ended(self) -> Ended | None:
        """Connections to the proxy that ended, our own probes' among them; None when that is not known."""
        client, it = self.known().get(CLIENT), self.connections
        if client is None:
            return None
        return Ended(sum(client.closed.values()) + it.own, client.ended_bytes + it.own_bytes)

    def mean_duration(self) -> float | None:
        """Mean of the last 100 connections of clients, in seconds; None before the first."""
        client = self.known().get(CLIENT)
        return client.mean_duration() if client else None

    def transferred(self) -> int | None:
        """Payload to and from destinations, else to and from clients; None when that is not known."""
        known = self.known()
        side = known.get(UPSTREAM) or known.get(CLIENT)
        return side.received + side.sent if side else None

    def report(self) -> Report | None:
        """For people; None before the proxy has been seen."""
        return report_of(self.connections, self.sides.scope, self.missed()) if self.sides.served else None
