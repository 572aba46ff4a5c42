"""Mullvad's list of relays as nodes: each WireGuard relay has a SOCKS server that answers inside a tunnel. Pure.

    [{"hostname": "se-got-wg-001", "country_code": "se", "city_code": "got", "active": true, "owned": true,
      "provider": "31173", "type": "wireguard", "socks_name": "se-got-wg-socks5-001.relays.mullvad.net",
      "socks_port": 1080, ...}, ...]

What else is in it may come and go. A relay without what is needed is dropped and counted.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import msgspec

from proxywatch.balancer.discovery.labels import at
from proxywatch.balancer.discovery.sighting import Sighting, gather
from proxywatch.balancer.node import Node, Upstream
from proxywatch.balancer.nodes import NodeSettings, node_of
from proxywatch.errors import ParseError
from proxywatch.parse.host import canonical

_MOST_RELAYS = 20_000
_PORT = 1080


class Relay(msgspec.Struct, frozen=True):
    """One relay, as far as it matters here; all of it may be missing."""

    hostname: str = ""
    country_code: str = ""
    city_code: str = ""
    active: bool = False
    owned: bool = False
    provider: str = ""
    type: str = ""
    socks_name: str = ""
    socks_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = _PORT


class Wanted(msgspec.Struct, frozen=True):
    """Which relays to take; empty takes all.

    Attributes:
        countries: Codes.
        cities: City codes.
        owned: True for Mullvad's own machines only.
        providers: Whose machines.
    """

    countries: frozenset[str] = frozenset()
    cities: frozenset[str] = frozenset()
    owned: bool = False
    providers: frozenset[str] = frozenset()

    def takes(self, relay: Relay) -> bool:
        """Whether a relay is wanted."""
        return (
            relay.active
            and (not self.countries or relay.country_code.lower() in self.countries)
            and (not self.cities or relay.city_code.lower() in self.cities)
            and (not self.owned or relay.owned)
            and (not self.providers or relay.provider.lower() in self.providers)
        )


def read(content: bytes, wanted: Wanted, via: Upstream | str) -> Sighting:
    """The nodes of a list.

    Args:
        content: JSON.
        wanted: Which relays to take.
        via: The proxy in the tunnel, through which they are reached.

    Raises:
        ParseError: It is no list of relays.
    """
    try:
        relays = msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ParseError("the relay list is not a JSON list") from None
    if len(relays) > _MOST_RELAYS:
        raise ParseError(f"the relay list has more than {_MOST_RELAYS} entries")
    nodes, dropped = _nodes(relays, wanted, via)
    if relays and not nodes and dropped == len(relays):
        raise ParseError("no entry of the relay list is a relay")
    return gather(nodes, (), dropped)


def _nodes(relays: Sequence[msgspec.Raw], wanted: Wanted, via: Upstream | str) -> tuple[list[Node], int]:
    nodes, dropped = [], 0
    for raw in relays:
        try:
            relay = msgspec.json.decode(raw, type=Relay)
            if relay.type == "wireguard" and wanted.takes(relay):
                nodes.append(_node(relay, via))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ParseError):
            dropped += 1
    return nodes, dropped


def _node(relay: Relay, via: Upstream | str) -> Node:
    where = at(canonical(relay.socks_name), relay.socks_port)
    node = node_of(
        NodeSettings(
            id=relay.hostname,
            country=relay.country_code,
            city=relay.city_code,
            server=relay.hostname,
            url=f"socks5h://{where}",
            tags=("mullvad", *(["owned"] if relay.owned else [])),
        )
    )
    return replace(node, via=via)
