"""docs/choosing.md: its settings, rules and reports are what the code reads and gives."""

import json
import re
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from proxywatch import config
from proxywatch.balancer.choosing.rule import Rules, read_rule
from proxywatch.balancer.choosing.settings import (
    Affinity,
    Balancing,
    Choosing,
    Collect,
    Ejection,
    Exit,
    Geography,
)
from proxywatch.balancer.choosing.simulation.scenario import report, simulate
from proxywatch.balancer.choosing.strategy.table import OWN, strategies
from proxywatch.errors import ConfigError

PAGE = (Path(__file__).parents[3] / "docs" / "choosing.md").read_text()
SCHEMA = config.Schema(
    {
        "balancing": Balancing,
        "ejection": Ejection,
        "exit": Exit,
        "affinity": Affinity,
        "geography": Geography,
        "collect": Collect,
    }
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_settings() -> None:
    """Every block is read, and most of them are the defaults."""
    known = config.load("\n".join(blocks("yaml")), {}, SCHEMA)
    assert known[Ejection] == Ejection()
    assert known[Exit] == Exit()
    assert known[Affinity] == Affinity()
    assert known[Balancing].countries == {"us": "weighted_latency"}
    assert known[Geography].regions["europe"] == ("de", "uk", "fr", "nl")


@pytest.mark.parametrize(
    "text",
    [
        "ejection: {failures: 0}", "ejection: {base: 10m}", "ejection: {share: 1.1}", "exit: {verify: maybe}",
        "affinity: {key: cookie}", "affinity: {max_leases: 0}", "balancing: {bias: -1}",
        "balancing: {speed: 1}",
        "geography: {fallback: nearest}", "collect: {interval: 0s}",
    ],
)  # fmt: skip
def test_faults(text: str) -> None:
    """What cannot be meant is refused."""
    with pytest.raises(ConfigError):
        config.load(text, {}, SCHEMA)


def test_documented_defaults() -> None:
    """An hour of affinity, thirty seconds of collection, health_score."""
    settings = Choosing()
    assert (float(settings.affinity.timeout), float(settings.collect.interval)) == (3600, 30)
    assert settings.collect.keep == 90
    assert settings.balancing.strategy == "health_score"


def test_rules() -> None:
    """The rules of the page are rules."""
    [text] = blocks("json")
    rules = [
        read_rule(document, id=str(number), created=0.0, origin="file", zones=ZoneInfo)
        for number, document in enumerate(json.loads(text))
    ]
    assert [rule.name for rule in Rules(rules)] == ["office hours", "tv", "guests"]


def test_strategies() -> None:
    """Each has its line; the example of one's own is one."""
    for name in OWN:
        assert f"| `{name}` |" in PAGE
    [text] = blocks("python")
    names: dict[str, object] = {}
    exec(text, names)
    assert "nearest" in strategies([("nearest", names["Nearest"])])


@pytest.mark.parametrize("scenario", ["herd", "slow-exit", "flap", "drain", "dead-tunnel"])
def test_reports(scenario: str) -> None:
    """The page shows what a simulation gives."""
    assert report(scenario, simulate(scenario, Random)).strip() in PAGE
