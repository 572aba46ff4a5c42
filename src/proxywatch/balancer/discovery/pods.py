"""Pods as nodes, and what a list and a watch of them say. Pure.

    metadata:
      labels:       {proxywatch/country: se}      and id, city, server, slot, weight, max_connections
      annotations:  {proxywatch/tags: "fast,tv"}  any of these may be an annotation as well; the label wins
    spec:
      containers: [{ports: [{name: socks, containerPort: 1080}, {name: metrics, containerPort: 9090}]}]

`proxywatch/port` and `proxywatch/sidecar-port` stand for ports that are not named so. A pod is known by its uid:
another one that comes under the same name or address is a new node. It leaves service with the event that says
that it is being deleted, has ended, or is about to be disrupted, whatever its readiness says.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from proxywatch.balancer.discovery.labels import at, described, port
from proxywatch.balancer.discovery.sighting import Leaving, Sighting, bounded
from proxywatch.balancer.node import Node
from proxywatch.errors import ParseError

PREFIX = "proxywatch/"
_SOCKS, _METRICS = "socks", "metrics"
_PORT = 1080
_ENDED = frozenset({"Succeeded", "Failed"})


class _Meta(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Port(msgspec.Struct, frozen=True, rename="camel"):
    container_port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    name: str = ""


class _Container(msgspec.Struct, frozen=True):
    ports: list[_Port] | None = None


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    containers: list[_Container] = []
    init_containers: list[_Container] | None = None  # native sidecars are among them


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: list[_Condition] | None = None


class Pod(msgspec.Struct, frozen=True):
    """A pod, as far as it matters."""

    metadata: _Meta
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str
    continue_: str = msgspec.field(default="", name="continue")


class PodList(msgspec.Struct, frozen=True):
    """One page of a list."""

    metadata: _ListMeta
    items: list[Pod] = []


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class ExpiredError(Exception):
    """The watch cannot go on from where it was: a new list is due."""


def read_list(content: bytes) -> PodList:
    """A page of a list.

    Raises:
        ParseError: It is none.
    """
    read: PodList = _decoded(content, PodList)
    return read


class Pods:
    """All pods as of a version.

    Attributes:
        version: From which a watch goes on.
        pods: By uid.
    """

    def __init__(self, version: str, pods: Iterable[Pod]) -> None:
        """As a list has them; what is not in it is gone."""
        self.version = version
        self.pods = {pod.metadata.uid: pod for pod in pods}
        self._made: dict[str, _Made] = {}

    def take_all(self, lines: Iterable[bytes]) -> bool:
        """Take events of the watch, as `take` does; whether any changed anything."""
        changed = False
        for line in lines:
            changed |= self.take(line)
        return changed

    def take(self, line: bytes) -> bool:
        """Take an event of the watch; whether it changed anything.

        Raises:
            ExpiredError: The server says that it has forgotten the version, or any other error.
            ParseError: It is no event.
        """
        event = _decoded(line, _Event)
        if event.type == "ERROR":
            raise ExpiredError
        if event.type == "BOOKMARK":
            self.version = _decoded(event.object, Pod).metadata.resource_version or self.version
            return False
        pod = _decoded(event.object, Pod)
        if event.type not in {"ADDED", "MODIFIED", "DELETED"} or not pod.metadata.uid:
            return False
        self.version = pod.metadata.resource_version or self.version
        if event.type == "DELETED":
            return self.pods.pop(pod.metadata.uid, None) is not None
        before = self.pods.get(pod.metadata.uid)
        self.pods[pod.metadata.uid] = pod
        return before is None or _told(before) != _told(pod)

    def sighting(self) -> Sighting:
        """The nodes that they make."""
        self._made = {uid: self._make(uid, pod) for uid, pod in self.pods.items()}
        nodes: dict[str, Node] = {}
        leaving: dict[str, Leaving] = {}
        faults = []
        dropped = 0
        for _, _, made in sorted(self._made.values(), key=lambda it: it[:1]):
            if isinstance(made, Node):
                if made.id in nodes:
                    faults.append(f"{made.id} is there twice")
                nodes.setdefault(made.id, made)
            elif isinstance(made, str):
                faults.append(made)
                dropped += 1
            else:
                leaving[made[0]] = made[1]
        gone = {it: why for it, why in leaving.items() if it not in nodes}
        return Sighting(nodes, gone, bounded(faults), dropped)

    def _make(self, uid: str, pod: Pod) -> "_Made":
        """What a pod makes; worked out once for each version of it, as an event is of one among many."""
        known = self._made.get(uid)
        if known is not None and known[1] is pod:
            return known
        labels = _labels(pod)
        order = (pod.metadata.name, uid)
        why = why_not(pod)
        if why is not None:
            return order, pod, (labels.get("id") or pod.metadata.name, why)
        try:
            return order, pod, node_of(pod, labels)
        except ParseError as error:
            return order, pod, f"pod {pod.metadata.name[:64]}: {error}"


_Made = tuple[tuple[str, str], Pod, Node | str | tuple[str, Leaving]]


def why_not(pod: Pod) -> Leaving | None:
    """Why a pod gets no requests; None when it may."""
    conditions = {each.type: each.status for each in pod.status.conditions or []}
    if pod.metadata.deletion_timestamp is not None:
        return Leaving("its pod is being deleted")
    if pod.status.phase in _ENDED:
        return Leaving(f"its pod has ended ({pod.status.phase})", at_once=True)
    if conditions.get("DisruptionTarget") == "True":
        return Leaving("its pod is about to be disrupted")
    if conditions.get("Ready") != "True" or not pod.status.pod_ip:
        return Leaving("its pod is not ready")
    return None


def node_of(pod: Pod, labels: Mapping[str, str]) -> Node:
    """The node of a pod.

    Raises:
        ParseError: With what is wrong with it.
    """
    host = pod.status.pod_ip
    socks = port(labels["port"]) if "port" in labels else _port(pod, _SOCKS) or _PORT
    sidecar = port(labels["sidecar-port"]) if "sidecar-port" in labels else _port(pod, _METRICS)
    return described(
        labels,
        url=at(host, socks),
        sidecar=f"http://{at(host, sidecar)}" if sidecar else "",
        name=pod.metadata.name,
        instance=pod.metadata.uid,
    )


def _labels(pod: Pod) -> dict[str, str]:
    both = {**(pod.metadata.annotations or {}), **(pod.metadata.labels or {})}
    return {key.removeprefix(PREFIX): value for key, value in both.items() if key.startswith(PREFIX)}


def _port(pod: Pod, name: str) -> int:
    containers = [*pod.spec.containers, *(pod.spec.init_containers or [])]
    return next(
        (it.container_port for container in containers for it in container.ports or [] if it.name == name), 0
    )


def _told(pod: Pod) -> object:
    """What of a pod makes a difference."""
    return (_labels(pod), why_not(pod), pod.status.pod_ip, pod.spec)


def _decoded(content: bytes | msgspec.Raw, kind: Any) -> Any:  # noqa: ANN401 - a type and its value
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ParseError("the API server's answer cannot be read") from None
