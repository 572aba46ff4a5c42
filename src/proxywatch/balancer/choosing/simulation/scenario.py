"""The scenarios, and the report of each."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from proxywatch.balancer.choosing.measures import jain, percentile
from proxywatch.balancer.choosing.simulation.rivals import Documented, LeastConnections, Ours
from proxywatch.balancer.choosing.simulation.world import Balancer, Clock, Exit, Load, Told, World
from proxywatch.balancer.choosing.strategy.interface import Dice

Dices = Callable[[int], Dice]


class Build(Protocol):
    """Makes the exits and the load of a scenario."""

    def __call__(self, nodes: int, dice: Dice) -> tuple[list[Exit], Load]:
        """For so many nodes, or as many as it needs."""


class Scenario(msgspec.Struct, frozen=True):
    """Something that happens.

    Attributes:
        name: On the command line.
        about: What happens, in a sentence.
        nodes: How many exits, unless told otherwise.
        build: Makes exits and load.
    """

    name: str
    about: str
    nodes: int
    build: Build


def _always(_: float) -> bool:
    return True


def _near(dice: Dice, middle: float, spread: float) -> Callable[[float], float]:
    return lambda _: middle + (dice.random() * 2 - 1) * spread


def _exits(nodes: int, dice: Dice, country: str = "se") -> list[Exit]:
    return [Exit(f"{country}-{at:03}", country, _near(dice, 60, 10), _always) for at in range(1, nodes + 1)]


def _herd(nodes: int, dice: Dice) -> tuple[list[Exit], Load]:
    return _exits(nodes, dice), Load(seconds=40, rate=10, hold=20, steady=True)


def _slow_exit(nodes: int, dice: Dice) -> tuple[list[Exit], Load]:
    exits = _exits(nodes, dice)
    exits[0].latency = lambda now: 2000.0 if now >= 120 else 60.0  # noqa: PLR2004
    return exits, Load(seconds=420, rate=20, hold=5, event=120, bad=exits[0].id)


def _flap(nodes: int, dice: Dice) -> tuple[list[Exit], Load]:
    exits = [Exit(f"se-{at:03}", "se", _near(dice, 80, 15), _always) for at in range(1, nodes + 1)]
    return exits, Load(seconds=3600, rate=0.1, hold=5)


def _drain(nodes: int, dice: Dice) -> tuple[list[Exit], Load]:
    exits = _exits(nodes, dice) + _exits(nodes, dice, "no")
    exits[0].draining = 300.0
    return exits, Load(seconds=900, rate=25, hold=10, sessions=500, event=300, bad=exits[0].id)


def _dead_tunnel(nodes: int, dice: Dice) -> tuple[list[Exit], Load]:
    exits = _exits(nodes, dice)
    exits[0].works = lambda now: now < 60  # noqa: PLR2004
    return exits, Load(seconds=180, rate=10, hold=5, event=60, bad=exits[0].id)


SCENARIOS: Mapping[str, Scenario] = {
    it.name: it
    for it in (
        Scenario("herd", "10 requests a second, held for 20 s, while facts are up to 30 s old.", 3, _herd),
        Scenario("slow-exit", "One exit jumps from 60 ms to 2 s after two minutes.", 10, _slow_exit),
        Scenario("flap", "Exits at 80 ms, give or take 15 ms, for an hour.", 2, _flap),
        Scenario("drain", "500 sessions; one exit of their country is drained for five minutes.", 3, _drain),
        Scenario("dead-tunnel", "After a minute nothing gets through one exit; its proxy still answers.", 10,
                 _dead_tunnel),
    )
}  # fmt: skip


def simulate(
    name: str, dices: Dices, *, nodes: int = 0, strategy: str = "health_score", seed: int = 0
) -> list[Told]:
    """Run a scenario with each balancer, each in the same world.

    Args:
        name: Of the scenario.
        dices: Makes dice from a seed.
        nodes: How many exits; 0 for the scenario's own number.
        strategy: Of our brain.
        seed: Of the world.
    """
    scenario = SCENARIOS[name]
    told = []
    for who in ("ours", "ours without retries", "documented", "least connections"):
        clock = Clock()
        exits, load = scenario.build(nodes or scenario.nodes, dices(seed))
        balancer = _balancer(who, exits, clock, dices(seed + 1), strategy)
        told.append(World(exits, load, balancer, dices(seed + 2), clock).run())
    return told


def _balancer(who: str, exits: list[Exit], clock: Clock, dice: Dice, strategy: str) -> Balancer:
    home = [it for it in exits if it.country == exits[0].country]
    if who.startswith("ours"):
        return Ours(exits, clock, dice, strategy=strategy, retries=2 if who == "ours" else 0)
    return Documented(home) if who == "documented" else LeastConnections(home)


def report(name: str, told: list[Told], *, nodes: int = 0) -> str:
    """What happened, and a table of what came of it."""
    scenario = SCENARIOS[name]
    _, load = scenario.build(nodes or scenario.nodes, _Still())
    head = ["", "requests", "lost", "failures", "peak", "Jain", "switches/h", "p50", "p99"]
    head += [f"share of {load.bad}"] if load.bad else []
    head += ["moved early", "abroad"] if load.sessions else []
    rows = [head, *(_row(it, load) for it in told)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"{scenario.name}: {scenario.about}", "", *lines]) + "\n"


def _row(told: Told, load: Load) -> list[str]:
    after = sum(told.picks_after.values())
    row = [
        told.name, str(told.requests), str(told.lost), str(told.failures), str(told.peak),
        f"{jain(list(told.picks.values())):.3f}", f"{told.switches / told.seconds * 3600:.1f}",
        f"{percentile(told.waits, 50):.0f} ms", f"{percentile(told.waits, 99):.0f} ms",
    ]  # fmt: skip
    row += [f"{100 * told.picks_after[load.bad] / after if after else 0:.1f} %"] if load.bad else []
    return row + ([str(told.moved_early), str(told.abroad)] if load.sessions else [])


class _Still:
    def random(self) -> float:
        return 0.5
