"""The balancer's settings: its sections, the environment variables that set some of their keys, and what follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from proxywatch import logs
from proxywatch.balancer.api.settings import Api
from proxywatch.balancer.choosing import settings as choosing
from proxywatch.balancer.choosing.rule import Rules, read_rule
from proxywatch.balancer.choosing.settings import Choosing
from proxywatch.balancer.discovery.settings import Discovery, sources
from proxywatch.balancer.discovery.source import Source
from proxywatch.balancer.facts import probe, speed
from proxywatch.balancer.node import Node
from proxywatch.balancer.nodes import NodeSettings, nodes_of
from proxywatch.balancer.relay import settings as relay
from proxywatch.clock import Clock
from proxywatch.config import Alias, Config, Schema, Section
from proxywatch.errors import ConfigError, Fault
from proxywatch.health import settings as health
from proxywatch.net.addresses import Addresses

PREFIX = "PROXYWATCH_BALANCER_"


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The health port.

    Attributes:
        listen: Where: an address, a unix socket, or several of them with commas between.
        max_connections: Connections that may be open at once.
    """

    listen: Addresses = Addresses.parse(":9998")
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 1024

    def port(self) -> health.Settings:
        """As the health room takes it."""
        return health.Settings(listen=self.listen, max_connections=self.max_connections)


class Journal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of decisions.

    Attributes:
        file: Where they are written, a JSON document per line; empty for nowhere.
        destinations: Whether destinations are kept; names of people never are.
        keep: How many are kept in memory.
    """

    file: str = ""
    destinations: bool = False
    keep: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000


def _same(text: str, _: str | None) -> str:
    return text


def _lower(text: str, _: str | None) -> str:
    return text.lower()


_ALIASES: Mapping[str, Mapping[tuple[str, ...], Alias]] = {
    "LOAD_BALANCER_STRATEGY": {("balancing", "strategy"): _same},
    "LOAD_BALANCER_ENABLED": {("balancing", "enabled"): _lower},
    "LOG_LEVEL": {("log", "level"): _lower},
}

SCHEMA = Schema(
    sections={
        "balancing": choosing.Balancing,
        "relay": relay.Settings,
        "api": Api,
        "health": Health,
        "collect": choosing.Collect,
        "discovery": Discovery,
        "exit": choosing.Exit,
        "probe": probe.Settings,
        "speed": speed.Settings,
        "ejection": choosing.Ejection,
        "affinity": choosing.Affinity,
        "geography": choosing.Geography,
        "journal": Journal,
        "log": logs.Settings,
    },
    values={
        "nodes": Section(tuple[NodeSettings, ...], (), "The proxies of the pool."),
        "rules": Section(tuple[Any, ...], (), "What is done with certain requests."),
    },
    prefix=PREFIX,
    aliases=_ALIASES,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, and what follows from them.

    Attributes:
        config: The sections.
        nodes: The nodes of the file.
        sources: Where other nodes come from, by name.
        rules: The rules of the file.
        choosing: All sections that choosing needs.
    """

    config: Config
    nodes: list[Node]
    sources: dict[str, Source]
    rules: Rules
    choosing: Choosing


def derive(config: Config, strategies: Mapping[str, object], clock: Clock) -> Settings:
    """What follows from the sections.

    Raises:
        ConfigError: With every fault found: in nodes, rules, and between sections.
    """
    faults: list[Fault] = []
    nodes: list[Node] = []
    try:
        nodes = nodes_of(config.sections["nodes"])
    except ConfigError as error:
        faults += error.faults
    found: dict[str, Source] = {}
    try:
        found = sources(config[Discovery], clock)
    except ConfigError as error:
        faults += error.faults
    rules = []
    for index, document in enumerate(config.sections["rules"]):
        try:
            rules.append(
                read_rule(
                    document,
                    id=f"file-{index}",
                    created=float(index),
                    origin="file",
                    zones=ZoneInfo,
                    strategies=strategies,
                    place=f"rules[{index}]",
                )
            )
        except ConfigError as error:
            faults += error.faults
    balancing = config[choosing.Balancing]
    for place, name in (("strategy", balancing.strategy), *_by_country(balancing)):
        if name not in strategies:
            faults.append(
                Fault(f"balancing.{place}", f"no strategy {name}; there are {', '.join(strategies)}")
            )
    faults += _open_api(config[Api])
    if faults:
        raise ConfigError(*faults)
    return Settings(config, nodes, found, Rules(rules), _choosing(config))


def public(config: Config) -> dict[str, Any]:
    """The settings as a document; what could be a secret is in files that are only named."""
    sections = {name: msgspec.to_builtins(value, enc_hook=str) for name, value in config.sections.items()}
    sections["load_balancer"] = sections["balancing"]
    return sections


def _choosing(config: Config) -> Choosing:
    journal = config[Journal]
    return Choosing(
        balancing=config[choosing.Balancing],
        ejection=config[choosing.Ejection],
        exit=config[choosing.Exit],
        affinity=config[choosing.Affinity],
        geography=config[choosing.Geography],
        collect=config[choosing.Collect],
        decisions=journal.keep,
        destinations=journal.destinations,
    )


def _by_country(balancing: choosing.Balancing) -> list[tuple[str, str]]:
    return [(f"countries.{country}", name) for country, name in balancing.countries.items()]


def _open_api(api: Api) -> list[Fault]:
    """An API beyond loopback without users is a fault."""
    if api.users_file or api.tokens_file:
        return []
    return [
        Fault(
            "api.listen",
            f"{address} is beyond loopback, without users; set api.users_file or api.tokens_file",
        )
        for address in api.listen
        if not relay.is_local(address)
    ]
