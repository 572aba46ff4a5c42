"""Transfers through nodes, with the exporter's probing room: one per question, each over a connection of its own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from proxywatch.balancer.facts import hop
from proxywatch.balancer.node import Node, Upstream
from proxywatch.errors import SourceError
from proxywatch.probe import outcome
from proxywatch.probe.outcome import Transfer
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.request import Request
from proxywatch.probe.transfer import Transfers

_OURS = frozenset({("proxy_connect", "local"), ("proxy_connect", "dns")})


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a question.

    Attributes:
        transfer: The transfer; None where it could not be begun.
        body: Of the answer.
        reason: Why it failed, for people; empty when it did not.
        ours: Whether that is no fault of the node: our own machine, or the proxy through which it is reached.
        extra: Seconds that the hop took before the transfer began.
    """

    transfer: Transfer | None
    body: bytes = b""
    reason: str = ""
    ours: bool = False
    extra: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it was answered."""
        return not self.reason

    @property
    def seconds(self) -> float:
        """How long all of it took."""
        return self.extra + (self.transfer.duration if self.transfer else 0.0)


class Through:
    """Asks through nodes; `aclose()` ends what is under way."""

    def __init__(self, upstream_of: Callable[[str], Upstream | None]) -> None:
        """Begin.

        Args:
            upstream_of: How to reach a node through which others are reached; None for one that is not in the pool.
        """
        self._upstream_of = upstream_of
        self._transfers = Transfers()
        self._own = OwnTraffic(capacity=1)

    async def ask(self, node: Node, request: Request) -> Reply:
        """Make one transfer through a node; never raises."""
        reached = node.upstream
        start, connection = monotonic(), None
        try:
            proxy = _proxy(node)
            if node.via is not None:
                async with asyncio.timeout(request.timeout):
                    connection = await hop.dial(self._first(node.via), reached.host, reached.port)
            extra = monotonic() - start
            exchange = await self._transfers.fetch(request, proxy, self._own, connection)
        except TimeoutError:
            return Reply(None, reason="the hop does not answer in time", ours=True)
        except (SourceError, ValueError) as error:
            return Reply(None, reason=str(error), ours=True)
        return _replied(outcome.judge(exchange), exchange.body, extra)

    def _first(self, via: Upstream | str) -> Upstream:
        first = via if isinstance(via, Upstream) else self._upstream_of(via)
        if first is None:
            raise SourceError(f"{via}, through which it is reached, is not in the pool")
        return first

    async def ask_directly(self, request: Request) -> Reply:
        """The same without a node, which tells of our own uplink and of nothing else; never raises."""
        try:
            exchange = await self._transfers.fetch(request, None, self._own)
        except SourceError as error:
            return Reply(None, reason=str(error), ours=True)
        return _replied(outcome.judge(exchange), exchange.body, 0.0)

    async def aclose(self) -> None:
        """End what is under way."""
        await self._transfers.aclose()


def _proxy(node: Node) -> Proxy:
    """The node as libcurl is told of it; behind a hop its name is of no matter, as the connection is there."""
    reached = node.upstream
    host = "127.0.0.1" if node.via is not None else reached.host
    where = f"[{host}]:{reached.port}" if ":" in host else f"{host}:{reached.port}"
    scheme = "socks5h" if reached.scheme == "socks5" else reached.scheme
    return Proxy(url=f"{scheme}://{where}", username=reached.username, password_file=reached.password_file)


def _replied(transfer: Transfer, body: bytes, extra: float) -> Reply:
    ours = (transfer.stage, transfer.reason) in _OURS
    return Reply(transfer, body, transfer.message(), ours, extra)
