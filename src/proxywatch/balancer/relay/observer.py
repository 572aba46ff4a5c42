"""Who wants to know of connections: the relay tells one observer of each that opens, ends or is refused.

At every instant the connections that were opened are those that were closed and those that are open.
"""

from typing import Literal, Protocol

import msgspec

from proxywatch.balancer.request import Destination

Spoken = Literal["socks5", "socks4", "connect", "http", "udp"]


class Connection(msgspec.Struct, frozen=True, gc=False):
    """A connection through a node.

    Args:
        id: Unique among all of this process and its earlier runs.
        at: When it was opened, monotonic seconds.
        spoken: What the client speaks.
        client: The client's address, without port.
        user: Name of the user, or empty.
        destination: As the client meant it.
        route: The country of the exit.
        node: Id of the node.
        decision: Id of the decision that chose the node.
    """

    id: str
    at: float
    spoken: Spoken
    client: str
    user: str
    destination: Destination
    route: str
    node: str
    decision: str


class Observer(Protocol):
    """Told of everything at once, on the event loop; it must not wait."""

    def opened(self, connection: Connection) -> None:
        """A node granted the connection."""

    def passed(self, connection: Connection, bytes_in: int, bytes_out: int) -> None:
        """So many bytes passed since this was last said; from time to time, and before `closed`."""

    def closed(
        self, connection: Connection, bytes_in: int, bytes_out: int, seconds: float, reason: str
    ) -> None:
        """It ended, after so many bytes from and to the client."""

    def refused(self, spoken: str, reason: str, blame: str) -> None:
        """A client got no connection; the reason is a label of a closed set."""


class Unobserved:
    """Nobody wants to know."""

    def opened(self, connection: Connection) -> None:
        """Nothing."""

    def passed(self, connection: Connection, bytes_in: int, bytes_out: int) -> None:
        """Nothing."""

    def closed(
        self, connection: Connection, bytes_in: int, bytes_out: int, seconds: float, reason: str
    ) -> None:
        """Nothing."""

    def refused(self, spoken: str, reason: str, blame: str) -> None:
        """Nothing."""
