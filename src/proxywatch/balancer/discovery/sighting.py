"""What a source of nodes sees, and several of them as one. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxywatch.balancer.node import Node

MOST_NODES = 5000  # of one source
_MOST_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Leaving:
    """A node that is still there and gets no new requests.

    Attributes:
        reason: Why.
        at_once: Whether nothing can work through it any more, so that its leases move at once too.
    """

    reason: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Sighting:
    """Everything that a source sees at one moment.

    Attributes:
        nodes: In service, by id, in the order of the source.
        leaving: Known to the source and not in service, by id: being deleted, not ready.
        faults: What of it could not be read, in sentences; the nodes of that part are those of before.
        dropped: Entries of which no node could be made, or that are not meant for us.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict)
    leaving: Mapping[str, Leaving] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    dropped: int = 0


def gather(nodes: Sequence[Node], faults: Sequence[str] = (), dropped: int = 0) -> Sighting:
    """A sighting of these nodes; of two with one id the first stays, and the other is a fault."""
    kept: dict[str, Node] = {}
    found = list(faults)
    for node in nodes:
        if node.id in kept:
            found.append(f"{node.id} is there twice")
        elif len(kept) == MOST_NODES:
            found.append(f"more than {MOST_NODES} nodes; the others are left out")
            break
        else:
            kept[node.id] = node
    return Sighting(kept, faults=bounded(found), dropped=dropped + len(nodes) - len(kept))


def bounded(faults: Sequence[str]) -> tuple[str, ...]:
    """The first of them, and how many more there are."""
    more = len(faults) - _MOST_FAULTS
    return (*faults[:_MOST_FAULTS], *([f"and {more} more"] if more > 0 else []))


def merge(static: Sequence[Node], sightings: Mapping[str, Sighting]) -> Sighting:
    """The settings' own nodes and those of every source; of one id the settings win, then the first source."""
    owners: dict[str, str] = {node.id: "nodes" for node in static}
    nodes = {node.id: node for node in static}
    leaving: dict[str, Leaving] = {}
    faults: list[str] = []
    for name, sighting in sightings.items():
        for node in sighting.nodes.values():
            if node.id in nodes:
                faults.append(f"{node.id} of {name} is left out: {owners[node.id]} has a node of that id")
            else:
                nodes[node.id], owners[node.id] = node, name
        leaving |= {node: why for node, why in sighting.leaving.items() if node not in leaving}
    return Sighting(nodes, {node: why for node, why in leaving.items() if node not in nodes}, bounded(faults))
