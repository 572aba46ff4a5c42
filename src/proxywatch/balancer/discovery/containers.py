"""Containers of a Docker-compatible engine as nodes. Pure.

    labels:
      proxywatch.country: se          and id, city, server, slot, weight, max_connections, tags
      proxywatch.port: "1080"         of the proxy in the container
      proxywatch.sidecar_port: "9090" of the exporter beside it; left out for none
      proxywatch.network: vpn         which of its networks we reach it by

A container that shares another one's network (`network_mode: container:X`, as sidecars of a VPN do) has no address of
its own: X's is taken. X may be made anew under the same name; then the container still hangs on what is gone, and has
to be made anew too.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from proxywatch.balancer.discovery.labels import at, described, port
from proxywatch.balancer.discovery.sighting import Leaving, Sighting, bounded
from proxywatch.balancer.node import Node
from proxywatch.errors import ParseError

PREFIX = "proxywatch."
_PORT = "1080"
_MOST_HOPS = 4
_SHARES = "container:"


class _Endpoint(msgspec.Struct, frozen=True, rename="pascal"):
    ip_address: Annotated[str, msgspec.Meta(max_length=64)] = msgspec.field(default="", name="IPAddress")
    ipv6: Annotated[str, msgspec.Meta(max_length=64)] = msgspec.field(default="", name="GlobalIPv6Address")


class _NetworkSettings(msgspec.Struct, frozen=True, rename="pascal"):
    networks: dict[str, _Endpoint | None] | None = None


class _HostConfig(msgspec.Struct, frozen=True, rename="pascal"):
    network_mode: str = ""


class _Health(msgspec.Struct, frozen=True, rename="pascal"):
    status: str = ""


class _State(msgspec.Struct, frozen=True, rename="pascal"):
    running: bool = False
    paused: bool = False
    health: _Health | None = None


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    labels: dict[str, str] | None = None


class Container(msgspec.Struct, frozen=True, rename="pascal"):
    """What `GET /containers/ID/json` says, as far as it matters."""

    id: str
    name: str = ""
    state: _State = _State()
    config: _Config = _Config()
    host_config: _HostConfig = _HostConfig()
    network_settings: _NetworkSettings = _NetworkSettings()

    @property
    def called(self) -> str:
        """Its name without the engine's slash."""
        return self.name.lstrip("/")


def read(content: bytes) -> Container:
    """An inspected container.

    Raises:
        ParseError: It is none.
    """
    try:
        return msgspec.json.decode(content, type=Container)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ParseError("the engine's answer is no container") from None


def owner(container: Container) -> str | None:
    """The id or name of the container whose network it shares; None for a network of its own."""
    mode = container.host_config.network_mode
    return mode.removeprefix(_SHARES) if mode.startswith(_SHARES) else None


def sighting(
    labelled: Sequence[Container], all_: Mapping[str, Container], network: str, host_address: str
) -> Sighting:
    """The nodes of the containers that carry our labels.

    Args:
        labelled: These containers.
        all_: Every container that was inspected, by id.
        network: By which network containers with several are reached; empty where their label says.
        host_address: The address of containers on the host's own network.
    """
    nodes: dict[str, Node] = {}
    leaving: dict[str, Leaving] = {}
    faults = []
    for container in sorted(labelled, key=lambda it: (it.called, it.id)):
        labels = {
            key.removeprefix(PREFIX): value
            for key, value in (container.config.labels or {}).items()
            if key.startswith(PREFIX)
        }
        name = labels.get("id") or container.called
        try:
            why = _why_not(container, all_)
            if why is not None:
                leaving[name] = why
                if why.at_once:
                    faults.append(f"{container.called}: {why.reason}")
                continue
            node = _node(
                container, labels, address(container, all_, labels.get("network") or network, host_address)
            )
        except ParseError as error:
            faults.append(f"{container.called}: {error}")
            continue
        if node.id in nodes:
            faults.append(f"{node.id} is there twice")
        nodes.setdefault(node.id, node)
    return Sighting(nodes, {it: why for it, why in leaving.items() if it not in nodes}, bounded(faults))


def address(container: Container, all_: Mapping[str, Container], network: str, host_address: str) -> str:
    """By which address a container is reached.

    Raises:
        ParseError: It has none, or several of which none was named.
    """
    holder = container
    for _ in range(_MOST_HOPS):
        above = owner(holder)
        if above is None:
            break
        holder = _by_id(all_, above)
    else:
        raise ParseError(f"its network is shared over more than {_MOST_HOPS} containers")
    if holder.host_config.network_mode == "host":
        return host_address
    networks = {
        name: endpoint.ip_address or endpoint.ipv6
        for name, endpoint in (holder.network_settings.networks or {}).items()
        if endpoint is not None and (endpoint.ip_address or endpoint.ipv6)
    }
    if network:
        if network not in networks:
            raise ParseError(f"it is not on the network {network}, but on {_listed(networks)}")
        return networks[network]
    if len(networks) != 1:
        raise ParseError(f"expected one network, or the label {PREFIX}network; it is on {_listed(networks)}")
    return next(iter(networks.values()))


def _listed(networks: Mapping[str, str]) -> str:
    return ", ".join(sorted(networks)) or "none"


def _why_not(container: Container, all_: Mapping[str, Container]) -> Leaving | None:
    """Why it gets no requests; None when it may."""
    state = container.state
    if not state.running or state.paused:
        return Leaving("its container does not run", at_once=True)
    holder = container
    for _ in range(_MOST_HOPS):
        above = owner(holder)
        if above is None:
            break
        if above not in all_ or not all_[above].state.running:
            return Leaving("network owner gone: make the container anew", at_once=True)
        holder = all_[above]
    if state.health is not None and state.health.status == "unhealthy":
        return Leaving("its container is unhealthy")
    return None


def _by_id(all_: Mapping[str, Container], name: str) -> Container:
    if name not in all_:
        raise ParseError("network owner gone: make the container anew")
    return all_[name]


def _node(container: Container, labels: Mapping[str, str], where: str) -> Node:
    sidecar = labels.get("sidecar_port", "")
    return described(
        labels,
        url=at(where, port(labels.get("port", _PORT))),
        sidecar=f"http://{at(where, port(sidecar))}" if sidecar else "",
        name=container.called or container.id[:12],
        instance=container.id,
    )
