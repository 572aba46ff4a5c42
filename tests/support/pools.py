"""Builds pools and brains for tests, with a clock that is set by hand and dice that are seeded."""

from collections.abc import Iterable
from random import Random
from typing import Any

from proxywatch.balancer.attempt import Choice, Failure, Refusal
from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.decision import Decision
from proxywatch.balancer.choosing.event import Event
from proxywatch.balancer.choosing.fact import Fact, Source
from proxywatch.balancer.choosing.settings import (
    Affinity,
    Balancing,
    Choosing,
    Collect,
    Ejection,
    Exit,
    Geography,
)
from proxywatch.balancer.node import Node, Upstream
from proxywatch.balancer.request import Destination, Request, Wishes

START = 1000.0
WALL = 1_700_000_000.0
SECTIONS = {
    "balancing": Balancing,
    "ejection": Ejection,
    "exit": Exit,
    "affinity": Affinity,
    "geography": Geography,
    "collect": Collect,
}


class Time:
    """Monotonic seconds and Unix time that go together."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL + self.now - START


def node(name: str, country: str = "", **more: Any) -> Node:
    """A node; `se-1` is in se unless said otherwise."""
    return Node(name, country or name.partition("-")[0], Upstream("socks5", f"{name}.example", 1080), **more)


def settings(**sections: Any) -> Choosing:
    """Settings by section: `settings(exit={"verify": "off"})`; other keys are those of Choosing itself."""
    return Choosing(
        **{name: SECTIONS[name](**it) if name in SECTIONS else it for name, it in sections.items()}
    )


class Bench:
    """A brain with everything that it was handed, at hand."""

    def __init__(self, *nodes: str | Node, seed: int = 0, strategies: Any = None, **sections: Any) -> None:
        self.time = Time()
        self.events: list[Event] = []
        self.finished: list[Decision] = []
        more = {"strategies": strategies} if strategies else {}
        self.brain = PoolBrain(
            settings(**sections),
            clock=self.time,
            wall=self.time.wall,
            dice=Random(seed),
            on_event=self.events.append,
            on_decision=self.finished.append,
            **more,
        )
        self.set(*nodes)

    def set(self, *nodes: str | Node) -> None:
        """Make these the pool's nodes."""
        self.brain.set_nodes([it if isinstance(it, Node) else node(it) for it in nodes])

    def after(self, seconds: float) -> None:
        """Let time pass, second by second as the daemon does."""
        end = self.time.now + seconds
        while self.time.now < end:
            self.time.now = min(end, self.time.now + 1)
            self.brain.tick()

    def facts(self, name: str, source: Source = "sidecar", age: float = 0.0, **facts: Any) -> None:
        """Tell facts about a node."""
        at = self.time.now - age
        assert self.brain.learn(name, {fact: Fact(value, at, source) for fact, value in facts.items()})

    def healthy(self, *names: str, **facts: Any) -> None:
        """Tell that nodes are as good as can be."""
        best = {"server_latency_ms": 50.0, "cpu_percent": 0.0, "memory_mb": 0.0, "tunnel_up": True}
        for name in names:
            self.facts(name, **{**best, "exit_country": name.partition("-")[0], **facts})

    def request(self, host: str = "", **more: Any) -> Request:
        """A request; keys of Wishes are wishes, others are the request's own."""
        wishes = {key: more.pop(key) for key in list(more) if key in Wishes.__dataclass_fields__}
        destination = Destination(host, 443) if host else None
        fields = {"client": "192.0.2.7", "destination": destination, "wishes": Wishes(**wishes), **more}
        return Request(self.time.now, self.time.wall(), **fields)

    def choose(self, tried: Iterable[str] = (), **more: Any) -> Choice:
        """A choice for such a request."""
        choice = self.brain.choose(self.request(**more), tuple(tried))
        assert isinstance(choice, Choice), choice
        return choice

    def refused(self, **more: Any) -> Refusal:
        """The refusal of such a request."""
        refusal = self.brain.choose(self.request(**more))
        assert isinstance(refusal, Refusal), refusal
        return refusal

    def picks(self, count: int, **more: Any) -> list[str]:
        """Ids of so many choices whose connections stay open."""
        return [self.choose(**more).node.id for _ in range(count)]

    def fail(self, name: str, times: int = 1, blame: Any = "node") -> None:
        """Requests to this very node fail."""
        for _ in range(times):
            choice = self.choose(node=name)
            self.brain.failed(choice, Failure(blame, "socks_general", 0.1))

    def serve(self, name: str, times: int = 1, seconds: float = 0.1) -> None:
        """Requests to this very node succeed and end."""
        for _ in range(times):
            choice = self.choose(node=name)
            self.brain.connected(choice, seconds)
            self.brain.closed(choice, 1, 2, 0.0, "client_closed")

    def kind(self, name: str) -> str:
        """How a node stands."""
        candidate = self.brain.pool.roster.get(name)
        assert candidate is not None
        return candidate.standing.kind

    def reason(self, name: str) -> str:
        """Why."""
        candidate = self.brain.pool.roster.get(name)
        assert candidate is not None
        return candidate.standing.reason

    def score(self, name: str) -> float:
        """Its health score."""
        candidate = self.brain.pool.roster.get(name)
        assert candidate is not None
        return candidate.score

    def caps(self, name: str) -> list[str]:
        """Reasons of its caps."""
        candidate = self.brain.pool.roster.get(name)
        assert candidate is not None
        return [cap.reason for cap in candidate.assessment.caps]

    def told(self, *types: str) -> list[tuple[str, str, str]]:
        """Type, node and reason of the events of these types."""
        return [(it.type, it.node, it.reason) for it in self.events if it.type in types]
