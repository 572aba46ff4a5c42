"""What listeners are told: the life of a connection, and of a DNS query."""

from dataclasses import dataclass
from typing import ClassVar, Literal

Outcome = Literal["answered", "dropped", "error", "cancelled"]
Cache = Literal["hit", "miss", "uncacheable"]


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A connection was opened.

    Args:
        connection_id: Unique, also across restarts; the event of its end has the same.
        type: Protocol that the client speaks (`socks5`, `http`, ...).
        route: Route that the connection takes.
        node: Upstream that serves it; empty when there is only one.
        client: Address of the client without its port; empty when unknown.
        timestamp: When it happened, Unix time in seconds.
    """

    name: ClassVar[Literal["connection-open"]] = "connection-open"

    connection_id: str
    type: str
    route: str
    node: str
    client: str
    timestamp: float


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A connection has ended, in whatever way.

    Args:
        connection_id: As in `ConnectionOpened`, and so are type, route, node and client.
        type: Protocol that the client speaks.
        route: Route that the connection took.
        node: Upstream that served it.
        client: Address of the client.
        timestamp: When it ended, Unix time in seconds.
        duration: Seconds from open to close.
        bytes_in: Bytes received from the client.
        bytes_out: Bytes sent to the client.
        reason: `closed`, `lost`, `error`, `cancelled`, or a reason of the proxy's own.
    """

    name: ClassVar[Literal["connection-close"]] = "connection-close"

    connection_id: str
    type: str
    route: str
    node: str
    client: str
    timestamp: float
    duration: float
    bytes_in: int
    bytes_out: int
    reason: str


@dataclass(frozen=True, slots=True)
class QueryReceived:
    """A DNS query has arrived.

    Args:
        query_id: Unique, also across restarts; the event of its answer has the same.
        message_id: Id in the DNS message, which clients choose and reuse; None when it cannot be read.
        domain: Name asked for, in lower case without the final dot (`.` for the root); empty when it cannot
            be read.
        type: Type asked for (`A`, `TYPE65280`, ...); `malformed` when it cannot be read.
        source: How it came: `udp`, `tcp`, `tls`, `https`, `quic`, or a word of the server's own.
        client: Address of the client without its port; empty when unknown.
        timestamp: When it happened, Unix time in seconds.
    """

    name: ClassVar[Literal["query-received"]] = "query-received"

    query_id: str
    message_id: int | None
    domain: str
    type: str
    source: str
    client: str
    timestamp: float


@dataclass(frozen=True, slots=True)
class QueryAnswered:
    """A DNS query has come to its end, in whatever way.

    Args:
        query_id: As in `QueryReceived`, and so are message_id, domain, type, source and client.
        message_id: Id in the DNS message.
        domain: Name asked for.
        type: Type asked for.
        source: How it came.
        client: Address of the client.
        timestamp: When it ended, Unix time in seconds.
        outcome: `answered`; `dropped` without an answer; `error` when the handler raised; `cancelled`.
        cache: `hit`, `miss`, or `uncacheable` when the handler did not tell.
        response_code: `NOERROR`, `NXDOMAIN`, `RCODE12`, ...; `none` without an answer, `malformed` for one
            that cannot be read.
        response_time: Seconds from the query to its end.
    """

    name: ClassVar[Literal["query-answered"]] = "query-answered"

    query_id: str
    message_id: int | None
    domain: str
    type: str
    source: str
    client: str
    timestamp: float
    outcome: Outcome
    cache: Cache
    response_code: str
    response_time: float

    @property
    def cached(self) -> bool:
        """Whether the answer came from a cache."""
        return self.cache == "hit"
