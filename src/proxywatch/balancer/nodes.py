"""The section `nodes`: each entry of the operator's list, and the node that it makes.

Beyond what each key takes by itself:

- ids are unique, at most 64 letters, digits, `.`, `_` and `-`, and none of the words that the API has taken;
- a URL is socks5, socks5h, http or https with host and port, without credentials: these have keys of their own;
- `via` names another node of the list, or a proxy by URL; nobody is reached through himself.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from proxywatch.balancer.choosing.geography import country_code, is_code
from proxywatch.balancer.node import Node, Scheme, Upstream
from proxywatch.errors import ConfigError, Fault, ParseError

RESERVED = frozenset({"list", "run-all", "summary", "results", "blacklist"})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SCHEMES: dict[str, Scheme] = {"socks5": "socks5", "socks5h": "socks5", "http": "http", "https": "https"}
_PORTS = {"socks5": 1080, "http": 3128, "https": 443}
_MOST_HOPS = 2


class Gluetun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The control server of a gluetun container.

    Attributes:
        url: Where it is.
        api_key_file: File with its key; empty for none.
    """

    url: str
    api_key_file: str = ""


class NodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One proxy of the pool.

    Attributes:
        id: Unique and stable; also the order of round robin.
        country: ISO 3166 code of the exit's country, `se`.
        url: The proxy: socks5://, http:// or https:// with host and port. Names of destinations are always
            resolved by the proxy.
        city: City code.
        server: VPN server behind it.
        sidecar: Base URL of its exporter; empty for none.
        username: For a proxy that wants a login.
        password_file: File with the password.
        weight: Share in random, round robin and assignment.
        max_connections: Not chosen at so many connections; 0 for no bound.
        slot: Country and ordinal, which outlive the container; the id unless said.
        tags: For rules.
        via: Another proxy through which this one is reached: a URL, or the id of a node.
        gluetun: The control server of the gluetun container that holds the tunnel.
    """

    id: str
    country: str
    url: str
    city: str = ""
    server: str = ""
    sidecar: str = ""
    username: str = ""
    password_file: str = ""
    weight: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0
    max_connections: Annotated[int, msgspec.Meta(ge=0)] = 0
    slot: str = ""
    tags: tuple[str, ...] = ()
    via: str = ""
    gluetun: Gluetun | None = None


def nodes_of(settings: Sequence[NodeSettings]) -> list[Node]:
    """The nodes of the list.

    Raises:
        ConfigError: With every fault found.
    """
    faults: list[Fault] = []
    nodes: dict[str, Node] = {}
    for index, entry in enumerate(settings):
        place = f"nodes[{index}]"
        found = list(_faults(entry, place))
        if entry.id in nodes:
            found.append(Fault(f"{place}.id", f"{entry.id} is there twice"))
        faults += found
        if not found:
            nodes[entry.id] = _node(entry, place, faults)
    faults += _chains(nodes)
    if faults:
        raise ConfigError(*faults)
    return list(nodes.values())


def node_of(entry: NodeSettings, instance: str = "") -> Node:
    """The node of one entry that a discovery found; its `via` is not looked up.

    Raises:
        ParseError: With every fault of it.
    """
    faults = list(_faults(entry, "node"))
    node = _node(entry, "node", faults)
    if faults:
        raise ParseError(
            "; ".join(f"{fault.place.removeprefix('node.')}: {fault.message}" for fault in faults)
        )
    return dataclasses.replace(node, instance=instance)


def upstream(url: str, username: str = "", password_file: str = "") -> Upstream:
    """How to reach the proxy of a URL.

    Raises:
        ParseError: It is none; the message does not quote what may be a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ParseError("expected a URL with a host and a port from 1 to 65535") from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ParseError(f"expected one of {', '.join(f'{known}://' for known in _SCHEMES)}")
    if "@" in parts.netloc:
        raise ParseError("credentials have keys of their own, username and password_file")
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ParseError("expected a host and a port, and nothing after them")
    if port == 0:
        raise ParseError("expected a port from 1 to 65535")
    return Upstream(scheme, parts.hostname, port or _PORTS[scheme], username, password_file)


def _node(entry: NodeSettings, place: str, faults: list[Fault]) -> Node:
    via: Upstream | str | None = entry.via or None
    reached = Upstream("socks5", "", 0)
    try:
        reached = upstream(entry.url, entry.username, entry.password_file)
    except ParseError as error:
        faults.append(Fault(f"{place}.url", str(error)))
    if "://" in entry.via:
        try:
            via = upstream(entry.via)
        except ParseError as error:
            faults.append(Fault(f"{place}.via", str(error)))
    return Node(
        id=entry.id,
        country=country_code(entry.country),
        upstream=reached,
        city=entry.city.lower(),
        server=entry.server,
        sidecar=entry.sidecar.rstrip("/"),
        weight=entry.weight,
        max_connections=entry.max_connections,
        slot=entry.slot or entry.id,
        tags=frozenset(entry.tags),
        via=via,
    )


def _faults(entry: NodeSettings, place: str) -> Iterator[Fault]:
    if not _ID.fullmatch(entry.id):
        yield Fault(f"{place}.id", "expected at most 64 letters, digits, `.`, `_` and `-`")
    elif entry.id in RESERVED:
        yield Fault(f"{place}.id", f"{entry.id} is a word of the API; take another")
    if not is_code(country_code(entry.country)):
        yield Fault(f"{place}.country", "expected a country code of two letters, se")
    if entry.sidecar and not _is_base_url(entry.sidecar):
        yield Fault(f"{place}.sidecar", "expected http:// or https:// with a host, without credentials")
    if entry.password_file and not entry.username:
        yield Fault(f"{place}.username", "expected beside password_file")


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = "@" not in parts.netloc and not parts.query and not parts.fragment
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain


def _chains(nodes: dict[str, Node]) -> Iterator[Fault]:
    """What is wrong with the nodes that are reached through others."""
    for node in nodes.values():
        via, hops = node.via, 1
        while isinstance(via, str) and hops <= _MOST_HOPS:
            hop = nodes.get(via)
            if hop is None:
                yield Fault(f"nodes {node.id} via", f"no node {via}; expected the id of one, or a URL")
                break
            via, hops = hop.via, hops + 1
        if via is not None and hops > _MOST_HOPS:
            yield Fault(f"nodes {node.id} via", f"expected at most {_MOST_HOPS} hops, and no circle")
