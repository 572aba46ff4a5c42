"""Whether a node connects its clients to its own loopback: what listens there was not meant for them.

The relay refuses such addresses, and names that are known to be local. What any other name resolves to only the node
knows, so only its own rules can block it. Each node is asked once when it joins, and once a day, for a connection to
`localhost` and a port where nothing listens. That it was refused there shows that it tried.
"""

from collections.abc import Sequence
from typing import Protocol

from proxywatch.balancer.facts.through import Reply
from proxywatch.balancer.node import Node
from proxywatch.probe.request import Request

INTERVAL = 86_400.0
_PORT = 9  # discard
_BLOCKED = frozenset({"rule", "network_unreachable", "host_unreachable", "dns_or_unreachable"})
_TIMEOUT = 5.0
_LIMIT = 4096


class Asks(Protocol):
    """Asks through nodes; see `Through`."""

    async def ask(self, node: Node, request: Request) -> Reply:
        """Make one transfer through a node."""


class Loopback:
    """Asks them.

    Attributes:
        reached: By node, whether it connected; without those that gave no answer.
    """

    def __init__(self, asks: Asks) -> None:
        """Begin without answers."""
        self.reached: dict[str, bool] = {}
        self._asks = asks

    async def look(self, node: Node) -> None:
        """Ask a node."""
        answer = await reaches_loopback(self._asks, node)
        if answer is not None:
            self.reached[node.id] = answer

    def forget(self, nodes: Sequence[Node]) -> None:
        """Forget all but these."""
        for name in self.reached.keys() - {node.id for node in nodes}:
            del self.reached[name]


async def reaches_loopback(asks: Asks, node: Node) -> bool | None:
    """Whether a node connects to its own loopback; None when it gives no answer."""
    request = Request(
        "loopback", f"https://localhost:{_PORT}/", _TIMEOUT, _LIMIT
    )  # https: HTTP proxies get a CONNECT
    transfer = (await asks.ask(node, request)).transfer
    if transfer is None or transfer.stage == "proxy_connect":
        return None
    if transfer.stage != "socks" or transfer.reason == "refused":
        return True
    return False if transfer.reason in _BLOCKED else None
