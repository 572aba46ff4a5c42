"""The balancers that are compared: ours, the documented algorithm taken literally, and least connections."""

from proxywatch.balancer.attempt import Choice, Failure
from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.choosing.score import base_score
from proxywatch.balancer.choosing.settings import Balancing, Choosing
from proxywatch.balancer.choosing.simulation.world import Clock, Exit
from proxywatch.balancer.choosing.strategy.interface import Dice
from proxywatch.balancer.node import Node, Upstream
from proxywatch.balancer.request import Request, Wishes

_UPSTREAM = Upstream("socks5", "192.0.2.1", 1080)


class Ours:
    """The brain as it is, with any strategy."""

    def __init__(
        self, exits: list[Exit], clock: Clock, dice: Dice, *, strategy: str = "health_score", retries: int = 2
    ) -> None:
        self.name = f"{strategy}{'' if retries else ', no retries'}"
        self.retries = retries
        self._clock = clock
        settings = Choosing(balancing=Balancing(strategy=strategy, retries=retries), decisions=1)
        self.brain = PoolBrain(settings, clock=clock, wall=clock, dice=dice)
        self.brain.set_nodes(Node(it.id, it.country, _UPSTREAM) for it in exits)
        self._country = exits[0].country
        self._requests: dict[tuple[str, tuple[str, ...]], Request] = {}
        self._choice: Choice | None = None
        self._open: dict[int, Choice] = {}

    def told(self, node: str, facts: dict[str, float]) -> None:
        """Facts with the time of the collection."""
        now = self._clock.now
        self.brain.learn(node, {name: Fact(value, now, "sidecar") for name, value in facts.items()})

    def pick(self, session: str, tried: tuple[str, ...]) -> str:
        """Ask the brain."""
        now = self._clock.now
        wishes = Wishes(country=self._country, session=session)
        choice = self.brain.choose(Request(now, now, "192.0.2.9", wishes=wishes), tried)
        self._choice = choice if isinstance(choice, Choice) else None
        return self._choice.node.id if self._choice else ""

    def bind(self, request: int) -> None:
        """Remember the choice."""
        if self._choice is not None:
            self._open[request] = self._choice

    def opened(self, request: int, node: str, seconds: float) -> None:  # noqa: ARG002 - the choice names it
        """As the relay reports it."""
        self.brain.connected(self._open[request], seconds)

    def failed(self, request: int, node: str, seconds: float) -> None:  # noqa: ARG002 - the choice names it
        """On the node's account."""
        self.brain.failed(self._open.pop(request), Failure("node", "socks_general", seconds))

    def closed(self, request: int, node: str) -> None:  # noqa: ARG002 - the choice names it
        """As the relay reports it."""
        self.brain.closed(self._open.pop(request), 0, 0, 0.0, "client_closed")

    def second(self) -> None:
        """As the daemon does."""
        self.brain.tick()

    def drain(self, node: str, seconds: float) -> None:
        """As the API does."""
        self.brain.drain(node, seconds)

    def preferred(self) -> str:
        """After hysteresis."""
        best = self.brain.overview.best(self._country, self._clock.now, strict=False)
        return best[0].id if best else ""


class Documented:
    """The greatest base score of the facts last collected, the first of equals."""

    name = "documented"
    retries = 0

    def __init__(self, exits: list[Exit]) -> None:
        self._scores = {it.id: 100.0 for it in exits}
        self._sessions: dict[str, str] = {}

    def told(self, node: str, facts: dict[str, float]) -> None:
        """Scores follow at the next collection, not before."""
        if node in self._scores:
            self._scores[node] = base_score(
                facts["server_latency_ms"], facts["connections"], facts["cpu_percent"], facts["memory_mb"]
            )

    def pick(self, session: str, tried: tuple[str, ...]) -> str:  # noqa: ARG002 - it does not retry
        """The same for everybody until the next collection."""
        best = self.preferred()
        return self._sessions.setdefault(session, best) if session else best

    def bind(self, request: int) -> None:
        """Nothing is kept."""

    def opened(self, request: int, node: str, seconds: float) -> None:
        """Nothing is learned."""

    def failed(self, request: int, node: str, seconds: float) -> None:
        """Nothing is learned."""

    def closed(self, request: int, node: str) -> None:
        """Nothing is learned."""

    def second(self) -> None:
        """Nothing happens."""

    def drain(self, node: str, seconds: float) -> None:  # noqa: ARG002 - it knows no deadline
        """The node is taken away; its sessions go elsewhere with their next request."""
        self._scores.pop(node, None)
        self._sessions = {session: it for session, it in self._sessions.items() if it != node}

    def preferred(self) -> str:
        """The plain maximum."""
        return max(self._scores, key=lambda node: self._scores[node])


class LeastConnections:
    """Fewest connections in flight, equals in turn; sees nothing of what happens behind an exit."""

    name = "least connections"
    retries = 0

    def __init__(self, exits: list[Exit]) -> None:
        self._in_flight = {it.id: 0 for it in exits}
        self._last = ""

    def told(self, node: str, facts: dict[str, float]) -> None:
        """It counts itself."""

    def pick(self, session: str, tried: tuple[str, ...]) -> str:  # noqa: ARG002 - it knows neither
        """The least loaded."""
        last = self._last
        self._last = min(self._in_flight, key=lambda node: (self._in_flight[node], node <= last, node))
        self._in_flight[self._last] += 1
        return self._last

    def bind(self, request: int) -> None:
        """Nothing is kept."""

    def opened(self, request: int, node: str, seconds: float) -> None:
        """Nothing is learned."""

    def failed(self, request: int, node: str, seconds: float) -> None:  # noqa: ARG002
        """Like the end of a connection."""
        self.closed(request, node)

    def closed(self, request: int, node: str) -> None:  # noqa: ARG002
        """One less."""
        if node in self._in_flight:
            self._in_flight[node] -= 1

    def second(self) -> None:
        """Nothing happens."""

    def drain(self, node: str, seconds: float) -> None:  # noqa: ARG002 - new connections only
        """No more connections."""
        self._in_flight.pop(node, None)

    def preferred(self) -> str:
        """It prefers none."""
        return ""
