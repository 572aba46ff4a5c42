"""A node: one proxy of the pool, as the operator or a discovery describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scheme = Literal["socks5", "http", "https"]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a proxy is reached, and how.

    Args:
        scheme: `socks5` (names are always resolved by the proxy), `http` (CONNECT) or `https` (CONNECT over TLS).
        host: Address or name of the proxy.
        port: 1 to 65535.
        username: For proxies that want a login; empty for none.
        password_file: File with the password, read when dialing; empty for none.
    """

    scheme: Scheme
    host: str
    port: int
    username: str = ""
    password_file: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One proxy of the pool.

    Args:
        id: Unique and stable; also the order of round robin.
        country: ISO 3166 code in lower case (`gb`, not `uk`).
        upstream: How to reach it.
        city: City code, or empty.
        server: VPN server behind it, or empty.
        sidecar: Base URL of its exporter, or empty.
        weight: Share in random, round robin and assignment; positive.
        max_connections: Not chosen at so many connections; 0 for no bound.
        slot: Country and ordinal; outlives the container in it. The id unless said.
        tags: For rules.
        via: Another proxy (Upstream) or node (its id) through which this one is reached; None for directly.
        instance: What runs there, a pod's or container's own id; another one under the same id is a new node.
    """

    id: str
    country: str
    upstream: Upstream
    city: str = ""
    server: str = ""
    sidecar: str = ""
    weight: float = 1.0
    max_connections: int = 0
    slot: str = ""
    tags: frozenset[str] = frozenset()
    via: Upstream | str | None = None
    instance: str = ""
