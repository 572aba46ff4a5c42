"""Target files of Prometheus's file-based service discovery, JSON or YAML, as nodes. Pure.

    - targets: ["10.0.0.1:9090"]              the sidecar
      labels:
        __proxywatch_socks__: ":1080"         the proxy: host and port, a URL, or a port of the target's host
        country: se                           and id, city, server, slot, weight, max_connections, tags
        __scheme__: https                     of the sidecar; `__metrics_path__` as Prometheus takes it

A group without `__proxywatch_socks__` is not meant for us and is passed over: Prometheus may use the same file.
Anything else that is wrong makes the whole file wrong, so that half a pool is never taken for all of it.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from proxywatch.balancer.discovery.labels import at, described, endpoint, port
from proxywatch.balancer.node import Node
from proxywatch.config import document
from proxywatch.config.convert import convert
from proxywatch.config.faults import Faults
from proxywatch.errors import ConfigError, ParseError

_OURS = "__proxywatch_"
_SOCKS = "__proxywatch_socks__"
_METRICS = "/metrics"
_MOST_TARGETS = 5000


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A target group."""

    targets: tuple[str, ...]
    labels: dict[str, str] = {}


def read(content: bytes, name: str) -> tuple[list[Node], int]:
    """The nodes of a file, and how many of its targets are not meant for us.

    Raises:
        ParseError: The file cannot be used; the message begins with its name.
    """
    groups = _json(content, name) if name.endswith(".json") else _yaml(content, name)
    if sum(len(group.targets) for group in groups) > _MOST_TARGETS:
        raise ParseError(f"{name}: more than {_MOST_TARGETS} targets")
    nodes: list[Node] = []
    foreign = 0
    for index, group in enumerate(groups):
        if _SOCKS not in group.labels:
            foreign += len(group.targets)
            continue
        try:
            nodes += _nodes(group)
        except ParseError as error:
            raise ParseError(f"{name}: group {index + 1}: {error}") from None
    if len({node.id for node in nodes}) < len(nodes):
        raise ParseError(f"{name}: two targets have one id")
    return nodes, foreign


def _nodes(group: Group) -> Iterator[Node]:
    labels = group.labels
    unknown = [label for label in labels if label.startswith(_OURS) and label != _SOCKS]
    if unknown:
        raise ParseError(f"unknown label {unknown[0][:64]!r}; known is {_SOCKS}")
    socks = labels[_SOCKS]
    if len(group.targets) > 1 and (not socks.startswith(":") or "id" in labels):
        raise ParseError(f"several targets share {_SOCKS} or id; expected `:PORT`, and no id")
    scheme, path = labels.get("__scheme__", "http"), labels.get("__metrics_path__", _METRICS)
    if not path.endswith(_METRICS):
        raise ParseError(f"__metrics_path__: expected one that ends in {_METRICS}")
    for target in group.targets:
        host, number = endpoint(target)
        where = at(host, number)
        url = at(host, port(socks[1:])) if socks.startswith(":") else socks
        sidecar = f"{scheme}://{where}{path.removesuffix(_METRICS)}"
        yield described(labels, url=url, sidecar=sidecar, name=f"{host}-{number}")


def _json(content: bytes, name: str) -> tuple[Group, ...]:
    try:
        found = json.loads(content.decode(), object_pairs_hook=_once)
        return msgspec.convert(found, tuple[Group, ...])
    except msgspec.ValidationError as error:
        raise ParseError(f"{name}: {_without_values(error)}") from None
    except ParseError as error:
        raise ParseError(f"{name}: {error}") from None
    except (ValueError, RecursionError):
        raise ParseError(f"{name}: not JSON") from None


def _yaml(content: bytes, name: str) -> tuple[Group, ...]:
    faults = Faults()
    try:
        groups = convert(document.load(content.decode(), name), tuple[Group, ...], faults)
        faults.raise_any()
    except ConfigError as error:
        raise ParseError("; ".join(str(fault) for fault in error.faults[:3])) from None
    except UnicodeDecodeError:
        raise ParseError(f"{name}: not UTF-8") from None
    return tuple(groups)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ParseError("a key is there twice")
    return found


def _without_values(error: msgspec.ValidationError) -> str:
    """What was expected and where; a message of the library never quotes a value."""
    return str(error)[:200]
