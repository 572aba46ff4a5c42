"""What the brain counts, for metrics."""

import msgspec


class Counts(msgspec.Struct):
    """What was counted since the start.

    Attributes:
        picks: Choices of a node.
        retries: Those that were not the first of their request.
        refused: Refusals, by `denied` and `no_node`.
        unverified: Picks of a node whose exit was not verified.
        wrong_exits: Connections opened through a node whose exit was wrong, or unverified where that is
            required.
        substituted: Picks in another country than was asked for.
        failures: Failed attempts by blame.
        by_strategy: Picks by strategy.
        ejections: Nodes taken out.
        switches: Changes of a country's preferred node, by country.
        leases_ended: Leases that ended by time, limit or request.
        bytes_in: From clients, of connections that have ended.
        bytes_out: To clients, of the same.
    """

    picks: int = 0
    retries: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=lambda: {"denied": 0, "no_node": 0})
    unverified: int = 0
    wrong_exits: int = 0
    substituted: int = 0
    failures: dict[str, int] = msgspec.field(
        default_factory=lambda: {"node": 0, "hop": 0, "destination": 0, "self": 0}
    )
    by_strategy: dict[str, int] = msgspec.field(default_factory=dict)
    ejections: int = 0
    switches: dict[str, int] = msgspec.field(default_factory=dict)
    leases_ended: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
