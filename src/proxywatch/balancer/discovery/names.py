"""Answers of DNS as nodes. Pure."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from proxywatch.balancer.discovery.labels import at, described
from proxywatch.balancer.node import Node

Kind = Literal["A", "AAAA", "SRV"]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class NameSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name of which every address, or every target of its SRV records, is a node.

    Attributes:
        name: The name.
        type: Which records: A, AAAA or SRV.
        country: Code of the country of all of them.
        city: City code.
        server: VPN server behind them.
        port: Of the proxies; SRV records bring their own.
        sidecar_port: Of the exporters beside them, by HTTP; 0 for none.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    country: str
    type: Kind = "A"
    city: str = ""
    server: str = ""
    port: Port = 1080
    sidecar_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0


Place = tuple[str, int]


def nodes_of(settings: NameSettings, places: Sequence[Place]) -> list[Node]:
    """The nodes of an answer, in an order of their own: resolvers turn the records round.

    Args:
        settings: The name.
        places: Host and port of each record; port 0 where records have none.

    Raises:
        ParseError: One of them makes no node.
    """
    labels = {"country": settings.country, "city": settings.city, "server": settings.server}
    nodes = []
    for host, number in sorted(set(places)):
        sidecar = f"http://{at(host, settings.sidecar_port)}" if settings.sidecar_port else ""
        name = f"{settings.name.rstrip('.')[:24]}-{host}" + (f"-{number}" if number else "")
        nodes.append(
            described(labels, url=at(host, number or settings.port), sidecar=sidecar, name=name, instance="")
        )
    return nodes
