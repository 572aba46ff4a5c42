"""What the API answers: the documents, as they are encoded and as the OpenAPI document describes them."""

from typing import Annotated, Any, Literal

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """An error.

    Attributes:
        detail: What was wrong.
    """

    detail: str


class StatsNode(msgspec.Struct, frozen=True):
    """A node in the statistics.

    Attributes:
        id: Of the node.
        server: VPN server behind it, or `unknown`.
        connections: Through it: the sidecar's count or ours and other balancers', whichever is greater.
        tailscale_ip: Address of its proxy.
        cpu_percent: Of its pod or container.
        health_score: 0 to 100.
        state: Whether it is usable: `ready`, `unseen`, `trial`, `full`, `draining`, `drained`, `ejected`, `down`,
            `wrong_exit` or `unverified`.
        reason: Why it is not `ready`; empty when it is.
        band: `excellent`, `good`, `acceptable`, `poor` or `critical`.
        in_flight: Connections of ours and of other balancers through it.
        confidence: Share of the score's factors that were measured lately, 0 to 1.
        verified: Whether its exit was seen in its country lately.
    """

    id: str
    server: str
    connections: int
    tailscale_ip: str
    cpu_percent: float
    health_score: float
    state: str
    reason: str
    band: str
    in_flight: int
    confidence: float
    verified: bool


class StatsCountry(msgspec.Struct, frozen=True):
    """A country in the statistics.

    Attributes:
        node_count: Usable nodes, full ones among them.
        total_connections: Through these.
        avg_connections_per_node: The same per node; 0 without nodes.
        nodes: All nodes, usable or not.
    """

    node_count: int
    total_connections: int
    avg_connections_per_node: float
    nodes: list[StatsNode]


class Stats(msgspec.Struct, frozen=True):
    """The statistics.

    Attributes:
        strategies: Names of all strategies.
        round_robin_counters: Picks by round robin, by country.
        countries: By code.
    """

    strategies: list[str]
    round_robin_counters: dict[str, int]
    countries: dict[str, StatsCountry]


class SelectedNode(msgspec.Struct, frozen=True):
    """A node that was selected."""

    id: str
    country: str
    server: str
    tailscale_ip: str
    health_score: float


class BestNode(msgspec.Struct, frozen=True):
    """A country's best node.

    Attributes:
        selected_node: The node.
        strategy: The country's strategy.
        country: As it was asked for.
    """

    selected_node: SelectedNode
    strategy: str
    country: str


class StrategyInfo(msgspec.Struct, frozen=True):
    """A strategy."""

    name: str
    description: str


class StrategyList(msgspec.Struct, frozen=True):
    """All strategies."""

    strategies: list[StrategyInfo]


class StrategyChoice(msgspec.Struct, frozen=True):
    """The strategies in force.

    Attributes:
        strategy: Of every country without one of its own.
        countries: Those with one of their own.
    """

    strategy: str
    countries: dict[str, str]


class StrategyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A strategy to put in force."""

    strategy: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class CountryStrategy(msgspec.Struct, frozen=True):
    """A country's strategy."""

    country: str
    strategy: str


class FactDocument(msgspec.Struct, frozen=True):
    """A measurement.

    Attributes:
        value: What was measured.
        age_seconds: How long ago.
        source: Who says so: `sidecar`, `operator`, `probe`, `speed` or `discovery`.
        stale: Whether it is too old to count in full.
    """

    value: float | bool | str
    age_seconds: float
    source: str
    stale: bool


class CapDocument(msgspec.Struct, frozen=True):
    """A bound on a score."""

    score: float
    reason: str


class FactorDocument(msgspec.Struct, frozen=True):
    """A factor of a score.

    Attributes:
        name: Which, and what it was taken from.
        value: As measured, with its unit.
        score: Its own score.
        cost: Points that it takes off the node's score.
    """

    name: str
    value: str
    score: float
    cost: float


class NodeResources(msgspec.Struct, frozen=True):
    """What a node's pod or container takes; None where that is not known."""

    cpu_percent: float | None
    memory_mb: float | None


class SidecarDocument(msgspec.Struct, frozen=True):
    """How a node's sidecar answers.

    Attributes:
        url: Where it is.
        last_success: Unix time; None before the first.
        fault: Why the last fetch failed; empty when it did not.
    """

    url: str
    last_success: float | None
    fault: str


class NodeDocument(msgspec.Struct, frozen=True):
    """A node.

    Attributes:
        id: Of the node.
        country: Code.
        city: Code, or empty.
        server: VPN server behind it, or `unknown`.
        slot: Its place in the country, which outlives the container in it.
        tags: For rules.
        status: `running` while it serves or drains, else `unhealthy`.
        state: Whether it is usable; see the statistics.
        reason: Why it is not `ready`.
        health_score: 0 to 100.
        base_score: The same before caps.
        band: What the score means.
        confidence: Share of the factors that were measured lately.
        factors: Of the score.
        caps: In force on the score.
        in_flight: Connections of ours and of other balancers.
        connections: The sidecar's count or these, whichever is greater.
        max_connections: Not chosen at so many; 0 for no bound.
        weight: Its share.
        latency_ms: By which strategies compare it.
        tailscale_ip: Address of its proxy.
        port: Of its proxy.
        via: Through what it is reached; empty for directly.
        leases: How many there are on it.
        drain_seconds: Until its drain's deadline; None when it does not drain.
        stats: Its resources.
        facts: What was measured, by name.
        sidecar: Its exporter; None when it has none.
    """

    id: str
    country: str
    city: str
    server: str
    slot: str
    tags: list[str]
    status: Literal["running", "unhealthy"]
    state: str
    reason: str
    health_score: float
    base_score: float
    band: str
    confidence: float
    factors: list[FactorDocument]
    caps: list[CapDocument]
    in_flight: int
    connections: int
    max_connections: int
    weight: float
    latency_ms: float
    tailscale_ip: str
    port: int
    via: str
    leases: int
    drain_seconds: float | None
    stats: NodeResources
    facts: dict[str, FactDocument]
    sidecar: SidecarDocument | None


class AssignRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client that dials itself asks for.

    Attributes:
        country: Code; empty for any.
        city: Code.
        session: Requests of one session share an exit; without one each gives a lease of its own.
        ttl: Idle seconds after which the lease ends; 0 for the configured time.
        fallback: Where to go when the country has no usable node; by default as configured.
        destination: Host, for rules by domain.
        client: Address of the client, for rules by network; the caller's own by default.
        user: For rules by user.
        dry_run: Whether to say only what would be chosen.
    """

    country: Annotated[str, msgspec.Meta(max_length=32)] = ""
    city: Annotated[str, msgspec.Meta(max_length=64)] = ""
    session: Annotated[str, msgspec.Meta(max_length=128)] = ""
    ttl: Annotated[float, msgspec.Meta(ge=0, le=31_536_000)] = 0.0
    fallback: Literal["none", "region", "any"] | None = None
    destination: Annotated[str, msgspec.Meta(max_length=255)] = ""
    client: Annotated[str, msgspec.Meta(max_length=64)] = ""
    user: Annotated[str, msgspec.Meta(max_length=255)] = ""
    dry_run: bool = False


class LeaseDocument(msgspec.Struct, frozen=True):
    """A lease.

    Attributes:
        id: To end it by.
        node: That it is on.
        country: Of that node.
        key: What it belongs to: `session`, `user`, `client`, or `lease` for one that the API gave.
        held: Whether it counts as in flight: the client dials itself.
        idle_seconds: Since its last use.
        ends_in_seconds: Until it ends if it is not used.
    """

    id: str
    node: str
    country: str
    key: str
    held: bool
    idle_seconds: float
    ends_in_seconds: float


class Assignment(msgspec.Struct, frozen=True):
    """A node for a client that dials itself.

    Attributes:
        lease: To be ended when the client is done; None in a dry run.
        node: Id of the node.
        url: Of its proxy, without credentials.
        country: Of the node.
        substituted: Whether that is another country than was asked for.
        decision: Id of the decision.
    """

    lease: LeaseDocument | None
    node: str
    url: str
    country: str
    substituted: bool
    decision: str


class Done(msgspec.Struct, frozen=True):
    """What was done.

    Attributes:
        status: In a word.
        id: Of what.
    """

    status: str
    id: str


class DrainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A drain.

    Attributes:
        deadline: Seconds for which leases stay.
        reason: For the event and the journal.
    """

    deadline: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 300.0
    reason: Annotated[str, msgspec.Meta(max_length=200)] = "asked to by the API"


class FactsPosted(msgspec.Struct, frozen=True):
    """How many facts were taken."""

    id: str
    taken: int


class CountryInfo(msgspec.Struct, frozen=True):
    """A country.

    Attributes:
        country: Code.
        nodes: All of its nodes.
        usable: Those that can be chosen.
        strategy: In force there.
        preferred: Its preferred node; empty when none is usable.
    """

    country: str
    nodes: int
    usable: int
    strategy: str
    preferred: str


class DecisionText(msgspec.Struct, frozen=True):
    """A decision, and the same in words."""

    decision: dict[str, Any]
    text: str


class SdGroup(msgspec.Struct, frozen=True):
    """A target group of Prometheus's HTTP service discovery."""

    targets: list[str]
    labels: dict[str, str]
