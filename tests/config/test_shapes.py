"""Sections of other shapes, as other daemons have them: lists, free keys, a text; and their environment."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from proxywatch.config import Config, Schema, Section, load
from proxywatch.errors import ConfigError
from proxywatch.quantity import Duration


class Control(msgspec.Struct, frozen=True):
    """Within a node."""

    url: str
    api_key_file: str = ""


class Node(msgspec.Struct, frozen=True):
    """One of a list."""

    id: str
    country: str
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    tags: tuple[str, ...] = ()
    gluetun: Control | None = None


class Balancing(msgspec.Struct, frozen=True):
    """Free keys within fixed ones."""

    strategy: Literal["random", "health_score"] = "random"
    countries: dict[str, Literal["random", "health_score"]] = {}


class Exit(msgspec.Struct, frozen=True):
    """A word of YAML's among the choices."""

    verify: Literal["required", "preferred", "off"] = "preferred"
    max_age: Duration = Duration(600)


class Rule(msgspec.Struct, frozen=True):
    """With a part of any shape, and a key that Python does not allow."""

    name: str
    condition: Any = None
    max_nodes: int = msgspec.field(default=0, name="max-nodes")


SCHEMA = Schema(
    {"balancing": Balancing, "exit": Exit},
    {
        "nodes": Section(tuple[Node, ...], ()),
        "rules": Section(tuple[Rule, ...], ()),
        "servers": Section(dict[str, tuple[str, ...]], {}),
        "store": Section(str, "memory"),
        "listen": Section(str | tuple[str, ...], ":1080"),
    },
    prefix="PROXYWATCH_BALANCER_",
    aliases={"LOAD_BALANCER_STRATEGY": {("balancing", "strategy"): lambda text, _: text}},
)


def read(text: str = "", **environ: str) -> Config:
    return load(text, environ, SCHEMA, "balancer.yaml")


def faults(text: str = "", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return [str(fault) for fault in caught.value.faults]


def test_every_shape_is_read() -> None:
    """Lists of structs, nested structs, mappings of free keys, texts, one text or several."""
    config = read(
        "nodes:\n"
        "- {id: no-1, country: no, weight: 2, tags: [fast, 10], gluetun: {url: http://a.test/}}\n"
        "- id: se-1\n"
        "  country: se\n"
        "servers: {no: [no-osl-wg-001], se: [se-got-wg-001, se-got-wg-002]}\n"
        "store: sqlite:/var/lib/x.db\n"
        "listen: [':1', ':2']\n"
        "balancing: {countries: {no: health_score, us: random}}\n"
        "rules: [{name: night, max-nodes: 3, condition: {country: [no, se], ttl: 30, on: true}}]\n"
        "exit: {verify: off}\n"
    )
    sections = config.sections
    control = Control("http://a.test/")
    assert sections["nodes"] == (
        Node("no-1", "no", 2.0, ("fast", "10"), control),
        Node("se-1", "se"),
    )
    assert sections["servers"] == {"no": ("no-osl-wg-001",), "se": ("se-got-wg-001", "se-got-wg-002")}
    assert (sections["store"], sections["listen"]) == ("sqlite:/var/lib/x.db", (":1", ":2"))
    assert config[Balancing].countries == {"no": "health_score", "us": "random"}
    (rule,) = sections["rules"]
    assert (rule.max_nodes, rule.condition) == (3, {"country": ["no", "se"], "ttl": 30, "on": True})
    assert config[Exit].verify == "off"


def test_a_section_that_nobody_sets_has_its_default() -> None:
    """Also where it is named and empty."""
    for text in ("", "nodes:\nservers: ~\nstore:\n"):
        sections = read(text).sections
        assert (sections["nodes"], sections["servers"], sections["store"]) == ((), {}, "memory")


def test_faults_within_them_have_their_places() -> None:
    """Line, index and key; all of them at once."""
    text = """\
nodes:
- {id: a}
- {id: b, country: se, weigth: 1}
- {id: c, country: se, weight: 0}
servers: {se: se-got-wg-001}
balancing: {countries: {us: fastest}}
store: [memory]
rules: geheim
"""
    assert faults(text) == [
        "balancer.yaml:6 balancing.countries.us: expected one of random, health_score, got 'fastest'",
        "balancer.yaml:2 nodes[0].country: missing; expected text",
        "balancer.yaml:3 nodes[1].weigth: unknown key; did you mean weight?",
        "balancer.yaml:4 nodes[2].weight: expected a number of more than 0, got '0'",
        "balancer.yaml:8 rules: expected a list, each a mapping",
        "balancer.yaml:5 servers.se: expected a list, each text, got 'se-got-wg-001'",
        "balancer.yaml:7 store: expected text, got a list",
    ]


def test_the_environment_sets_them_too() -> None:
    """Whole sections as YAML, keys within mappings by name, and the short names."""
    config = read(
        "balancing: {countries: {se: random}}",
        PROXYWATCH_BALANCER_NODES="[{id: a, country: no}]",
        PROXYWATCH_BALANCER_STORE="redis://a.test/0",
        PROXYWATCH_BALANCER_SERVERS="no: [x]",
        PROXYWATCH_BALANCER_LISTEN=":3",
        PROXYWATCH_BALANCER_BALANCING_COUNTRIES_US="health_score",
        PROXYWATCH_BALANCER_EXIT_MAX_AGE="1m",
        LOAD_BALANCER_STRATEGY="health_score",
    )
    sections = config.sections
    assert sections["nodes"] == (Node("a", "no"),)
    assert (sections["store"], sections["servers"]) == ("redis://a.test/0", {"no": ("x",)})
    assert sections["listen"] == ":3"
    assert config[Balancing] == Balancing("health_score", {"se": "random", "us": "health_score"})
    assert config[Exit].max_age == Duration(60)


def test_faults_of_the_environment_name_the_variable() -> None:
    """And what lies where below it; no line, as there is none."""
    assert faults(
        PROXYWATCH_BALANCER_NODES="[{id: a}]", PROXYWATCH_BALANCER_SERVERS="[", PROXYWATCH_BALANCER_NOTES="x"
    ) == [
        "environment PROXYWATCH_BALANCER_SERVERS: not YAML: did not find expected node content",
        "environment PROXYWATCH_BALANCER_NOTES: unknown section; did you mean nodes?",
        "environment PROXYWATCH_BALANCER_NODES.[0].country: missing; expected text",
    ]
