"""Where nodes' exits are, as services on the other side see them: for nodes whose sidecars do not say.

Several services are asked through the node; what two of them say of its country is a sighting, for IPv4 and IPv6 each.
One alone may be wrong: their data is often of last month.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.choosing.geography import country_code, is_code
from proxywatch.balancer.choosing.settings import Exit
from proxywatch.balancer.facts.probe import Asks
from proxywatch.balancer.facts.through import Reply
from proxywatch.balancer.node import Node
from proxywatch.clock import Clock
from proxywatch.errors import ParseError
from proxywatch.probe import identity
from proxywatch.probe.identity import Identity
from proxywatch.probe.request import Request

_LIMIT = 64 << 10
_ENOUGH = 2  # services that say the same


class Pool(Protocol):
    """What is needed of the brain."""

    def learn(self, node: str, facts: Mapping[str, Fact]) -> bool:
        """Take facts about a node."""


class ExitState(msgspec.Struct, frozen=True):
    """How the last look at a node's exit went.

    Attributes:
        at: Unix time.
        country: Of the IPv4 exit; empty where two services did not say the same.
        country_ipv6: Of the IPv6 exit; the same.
        ip: The address that most of them saw; empty without one.
        answers: How many services answered.
        fault: Why it is not known; empty when it is.
        looks: How many were made.
        failures: How many showed nothing.
    """

    at: float
    country: str = ""
    country_ipv6: str = ""
    ip: str = ""
    answers: int = 0
    fault: str = ""
    looks: int = 0
    failures: int = 0


class Exits:
    """Looks at exits.

    Attributes:
        states: By node.
        uplinks: Addresses of our own, as the same services see them without a node; empty where nobody looks.
    """

    def __init__(self, asks: Asks, pool: Pool, settings: Callable[[], Exit], clock: Clock) -> None:
        """Begin without having looked.

        Args:
            asks: Asks through nodes.
            pool: Learns of it.
            settings: Those in force.
            clock: For the times.
        """
        self.states: dict[str, ExitState] = {}
        self.uplinks: frozenset[str] = frozenset()
        self._asks = asks
        self._pool = pool
        self._settings = settings
        self._clock = clock

    async def look(self, node: Node) -> None:
        """Ask the services through a node, and tell the pool."""
        settings = self._settings()
        replies = await asyncio.gather(*(self._asks.ask(node, request) for request in requests(settings)))
        state = sighted(identities(replies))
        if not state.answers:
            words = next((reply.reason for reply in replies if reply.reason), "no service gave an address")
            state = msgspec.structs.replace(state, fault=words)
        now = self._clock.monotonic()
        if state.country or state.country_ipv6:
            facts = {
                "exit_country": state.country or state.country_ipv6,
                "exit_country_ipv6": state.country_ipv6,
                "exit_ip": state.ip,
            }
            self._pool.learn(
                node.id, {name: Fact(value, now, "probe") for name, value in facts.items() if value}
            )
        elif state.ip in self.uplinks:
            self._pool.learn(node.id, {"exit_ip": Fact(state.ip, now, "probe")})
        before = self.states.get(node.id, ExitState(0.0))
        self.states[node.id] = msgspec.structs.replace(
            state,
            at=self._clock.now(),
            looks=before.looks + 1,
            failures=before.failures + bool(state.fault),
        )

    async def look_at_uplink(self) -> None:
        """Ask the services without a node: their answers are no exit's."""
        replies = await asyncio.gather(
            *(self._asks.ask_directly(request) for request in requests(self._settings()))
        )
        seen = frozenset(identity.address for identity in identities(replies))
        self.uplinks = seen or self.uplinks

    def forget(self, nodes: Sequence[Node]) -> None:
        """Forget all but these."""
        for name in self.states.keys() - {node.id for node in nodes}:
            del self.states[name]


def sighted(answers: Sequence[Identity]) -> ExitState:
    """What the answers of several services say together."""
    families = [[it for it in answers if (":" in it.address) is six] for six in (False, True)]
    (country, fault), (country6, fault6) = map(_country, families)
    addresses = [it.address for it in (families[0] or families[1])]
    ip = Counter(addresses).most_common(1)[0][0] if addresses else ""
    faults = [] if country or country6 else [it for it in (fault, fault6) if it]
    return ExitState(0.0, country, country6, ip, len(answers), "; ".join(dict.fromkeys(faults)))


def _country(answers: Sequence[Identity]) -> tuple[str, str]:
    """The country that two of them or more name, and more than any other; or why there is none."""
    named = [country_code(it.code or it.country) for it in answers]
    votes = Counter(code for code in named if is_code(code)).most_common(2)
    if not votes:
        return "", "no service names a country" if answers else ""
    code, count = votes[0]
    if len(votes) > 1 and votes[1][1] == count:
        return "", f"the services disagree: {', '.join(sorted(vote[0] for vote in votes))}"
    if count < _ENOUGH:
        return "", f"only one service names a country, {code}"
    return code, ""


def requests(settings: Exit) -> list[Request]:
    """What to ask the services."""
    return [Request("exit", url, settings.timeout, _LIMIT, keep=True) for url in settings.urls]


def identities(replies: Sequence[Reply]) -> list[Identity]:
    """Those of the answers that can be read."""
    found = []
    for reply in replies:
        if reply.ok:
            try:
                found.append(identity.parse(reply.body))
            except ParseError:
                continue
    return found
