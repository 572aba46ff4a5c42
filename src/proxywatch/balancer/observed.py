"""The relay's connections, counted by `proxywatch.instrument`: statistics, events and metrics from one place.

Client names, sessions and destinations never reach it.
"""

from proxywatch.balancer.relay.observer import Connection
from proxywatch.instrument import MetricsAwareProxy
from proxywatch.instrument.connection import Connection as Counted

SPOKEN = ("socks5", "socks4", "connect", "http", "udp")


class Observed:
    """An observer of the relay.

    Attributes:
        proxy: Has the statistics.
        refusals: Clients that got no connection, by reason and blame.
    """

    def __init__(self, proxy: MetricsAwareProxy) -> None:
        self.proxy = proxy
        self.refusals: dict[tuple[str, str], int] = {}
        self._open: dict[str, Counted] = {}

    def opened(self, connection: Connection) -> None:
        """A node granted the connection."""
        self._open[connection.id] = self.proxy.open(
            type=connection.spoken, route=connection.route, node=connection.node, client=connection.client
        )

    def passed(self, connection: Connection, bytes_in: int, bytes_out: int) -> None:
        """Bytes passed since this was last said."""
        counted = self._open.get(connection.id)
        if counted is not None:
            counted.received(bytes_in)
            counted.sent(bytes_out)

    def closed(
        self,
        connection: Connection,
        bytes_in: int,  # noqa: ARG002 - told as they passed
        bytes_out: int,  # noqa: ARG002
        seconds: float,  # noqa: ARG002
        reason: str,
    ) -> None:
        """It ended."""
        counted = self._open.pop(connection.id, None)
        if counted is not None:
            counted.close(reason)

    def refused(self, spoken: str, reason: str, blame: str) -> None:  # noqa: ARG002 - the reason says enough
        """A client got no connection."""
        key = reason, blame
        self.refusals[key] = self.refusals.get(key, 0) + 1
