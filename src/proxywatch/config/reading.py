"""Settings: a YAML file and the environment in, frozen values by section out, or every fault at once."""

from collections.abc import Mapping
from typing import Any, TypeGuard, TypeVar

import msgspec

from proxywatch.config import document, environment
from proxywatch.config.convert import convert, structure
from proxywatch.config.document import Mapping as Nodes
from proxywatch.config.document import Node, Scalar
from proxywatch.config.faults import Faults
from proxywatch.config.place import Place
from proxywatch.config.schema import Config, Schema

_StructT = TypeVar("_StructT", bound=msgspec.Struct)


def load(
    content: str | bytes,
    environ: Mapping[str, str],
    schema: Schema,
    name: str = "proxywatch.yaml",
    *,
    others: bool = False,
) -> Config:
    """Read the settings of a daemon.

    Args:
        content: The file's, bytes in UTF-8; empty for defaults.
        environ: The environment, which wins over the file.
        schema: The known sections, and the names of the environment's variables.
        name: The file's name, for the places of faults.
        others: Whether there may be other sections, which are passed over.

    Raises:
        ConfigError: With every fault found.
    """
    faults = Faults()
    root = _mapping(document.load(content, name), faults)
    paths = [path for effects in schema.aliases.values() for path in effects]
    for path, node in (
        *environment.aliased(
            environ, schema, {path: found for path in paths if (found := _text(root, path))}
        ),
        *environment.overlay(environ, schema, faults, others=others),
    ):
        _put(root, path, node)
    for key, node in root.items.items():
        if key not in schema.kinds and not others:
            faults.add_unknown(node.place, "section", key, schema.kinds)
    values: dict[str, Any] = {
        key: _section(root.items.get(key), settings, Place(name, key), faults)
        for key, settings in schema.sections.items()
    }
    for key, section in schema.values.items():
        given = root.items.get(key)
        values[key] = convert(given, section.kind, faults) if _given(given) else section.default
    faults.raise_any()
    return Config(values)


def read(content: str | bytes, settings: type[_StructT], name: str) -> _StructT:
    """Read a file that is one struct, such as a web configuration.

    Args:
        content: The file's, bytes in UTF-8.
        settings: The struct.
        name: The file's name, for the places of faults.

    Raises:
        ConfigError: With every fault found.
    """
    faults = Faults()
    root = _mapping(document.load(content, name), faults)
    value = structure(root.items, settings, root.place, faults)
    faults.raise_any()
    assert value is not None  # noqa: S101 - else there is a fault
    return value


def _mapping(root: Node, faults: Faults) -> Nodes:
    if isinstance(root, Nodes):
        return Nodes(root.place, dict(root.items))
    faults.add(Place(root.place.source, "the file", root.place.line), "expected a mapping of keys to values")
    return Nodes(Place(root.place.source))


def _section(node: Node | None, settings: type[_StructT], place: Place, faults: Faults) -> _StructT | None:
    if not _given(node):
        return structure({}, settings, place, faults)
    if isinstance(node, Nodes):
        return structure(node.items, settings, node.place, faults)
    faults.add(node.place, "expected a mapping of keys to values")
    return None


def _given(node: Node | None) -> TypeGuard[Node]:
    """Whether there is a section, and something in it."""
    return node is not None and not (isinstance(node, Scalar) and node.null)


def _text(root: Nodes, path: tuple[str, ...]) -> str | None:
    """The text that the file has at a path; None without one."""
    node: Node | None = root
    for key in path:
        node = node.items.get(key) if isinstance(node, Nodes) else None
    return node.text if isinstance(node, Scalar) and not node.null else None


def _put(root: Nodes, path: tuple[str, ...], node: Node) -> None:
    """Set a value over what is there; mappings on the way are made."""
    parent = root
    for key in path[:-1]:
        below = parent.items.get(key)
        if not isinstance(below, Nodes):
            below = Nodes(node.place)
            parent.items[key] = below
        parent = below
    parent.items[path[-1]] = node
