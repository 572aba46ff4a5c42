"""Settings of choosing: the sections of the balancer's file that decide which node a request gets."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from proxywatch.quantity import Duration, Url

Positive = Annotated[Duration, msgspec.Meta(gt=0)]
NotNegative = Annotated[Duration, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Balancing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a node is chosen among those that are usable.

    Attributes:
        enabled: Whether to balance; otherwise the first usable node of the country, in the file's order,
            serves.
        strategy: Name of the strategy for every country without one of its own.
        countries: Strategies by country code.
        bias: How strongly connections in flight count against a node in assignment; 0 ignores them.
        retries: How many more nodes are tried after the first one failed.
        slow_start: How long the share of a node grows after it joined or came back.
        margin: Points of score by which a node must lead to replace a country's preferred node.
        hold: How long a node must lead before it does.
    """

    enabled: bool = True
    strategy: str = "health_score"
    countries: dict[str, str] = {}
    bias: Annotated[float, msgspec.Meta(ge=0, le=4)] = 1.0
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    slow_start: NotNegative = Duration(60)
    margin: Annotated[float, msgspec.Meta(ge=0, le=100)] = 3.0
    hold: NotNegative = Duration(60)


class Ejection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a node that fails is taken out, and for how long.

    Attributes:
        failures: Failures in a row, on the node's own account, that eject it.
        rise: Good probes or requests in a row that bring it back.
        base: Time of a first ejection; it doubles with each further one.
        max: Longest time of an ejection, and the half-life of what is remembered of past ones.
        share: Largest share of a country's nodes that may be ejected for failures at once.
    """

    failures: Count = 3
    rise: Count = 2
    base: Positive = Duration(30)
    max: Positive = Duration(300)
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5

    def __post_init__(self) -> None:
        """Refuse times that contradict each other."""
        if self.max < self.base:
            raise ValueError("max: expected at least base")


class Exit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be known of a node's exit before it is chosen.

    Attributes:
        verify: `required` chooses only nodes whose exit was seen in their country within max_age; `preferred`
            chooses a node whose exit was never seen only where none was seen; `off` does not look.
        max_age: How old a sighting may be under `required`.
        urls: Services that say who is asking, in JSON, lines of key=value, or with the bare address; asked through
            each node whose sidecar does not say where its exit is. What two of them say is believed.
        interval: How often they are asked.
        timeout: The longest that one of them may take.
    """

    verify: Literal["required", "preferred", "off"] = "preferred"
    max_age: Positive = Duration(600)
    urls: tuple[Url, ...] = (
        Url("https://am.i.mullvad.net/json"),
        Url("https://www.cloudflare.com/cdn-cgi/trace"),
        Url("https://ipv6.am.i.mullvad.net/json"),
        Url("https://[2606:4700:4700::1111]/cdn-cgi/trace"),
    )
    interval: Positive = Duration(300)
    timeout: Positive = Duration(10)

    def __post_init__(self) -> None:
        """Refuse what nobody could confirm."""
        if self.urls and len(set(self.urls)) < 2:  # noqa: PLR2004 - a single one may be wrong
            raise ValueError("urls: expected two or more, or none")


class Affinity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests stay on one exit.

    Attributes:
        timeout: Idle time after which a lease ends.
        max_age: Longest life of a lease, however busy; 0 for no bound.
        key: What a lease belongs to; a request without one has no affinity.
        max_leases: How many are kept; beyond it the one that was idle longest ends.
    """

    timeout: Positive = Duration(3600)
    max_age: NotNegative = Duration(0)
    key: Literal["session", "user", "client"] = "session"
    max_leases: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 100_000


REGIONS: Mapping[str, tuple[str, ...]] = {
    "americas": ("us", "ca", "br"),
    "europe": ("de", "gb", "fr", "nl"),
    "asia": ("jp", "sg", "hk", "au"),
    "africa": ("za",),
    "oceania": ("au", "nz"),
}


class Geography(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a request goes when its country has no usable node.

    Attributes:
        regions: Countries by region, in the order in which they stand in for each other. A country listed
            twice belongs to the first region that names it.
        fallback: `none` refuses, `region` tries the other countries of the region, `any` every country.
    """

    regions: dict[str, tuple[str, ...]] = msgspec.field(default_factory=lambda: dict(REGIONS))
    fallback: Literal["none", "region", "any"] = "none"


class Collect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often facts about nodes are collected.

    Attributes:
        interval: From one collection to the next.
        stale_after: Intervals after which a fact is stale.
        timeout: How long a sidecar may take to answer.
        username: For sidecars that want a login.
        password_file: File with the password for these.
        ca_file: Certificate authorities that sign the sidecars' certificates; the system's by default.
    """

    interval: Positive = Duration(30)
    stale_after: Count = 3
    timeout: Positive = Duration(10)
    username: str = ""
    password_file: str = ""
    ca_file: str = ""

    @property
    def keep(self) -> float:
        """Seconds after which a fact is stale."""
        return self.interval * self.stale_after


class Choosing(msgspec.Struct, frozen=True):
    """All sections that choosing needs.

    Attributes:
        balancing: The section of that name, as are the others.
        ejection: When nodes are taken out.
        exit: Verification of exits.
        affinity: Leases.
        geography: Fallback.
        collect: Age of facts.
        decisions: How many decisions are kept in memory (`journal.keep`).
        destinations: Whether decisions name destinations (`journal.destinations`).
    """

    balancing: Balancing = Balancing()
    ejection: Ejection = Ejection()
    exit: Exit = Exit()
    affinity: Affinity = Affinity()
    geography: Geography = Geography()
    collect: Collect = Collect()
    decisions: int = 10_000
    destinations: bool = False
