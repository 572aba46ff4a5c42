"""Settings from the environment: `PREFIX_SECTION_KEY`, and a daemon's short names.

A key within a mapping has the mapping's name before its own: `PROXYWATCH_EXIT_EXPECT_COUNTRY`. Lists,
mappings and whole sections are written as YAML; a list of texts may have commas between them instead. All
other values are the text as it is.

Kubernetes puts variables of the same look into a pod for each Service (`METRICS_PORT=tcp://10.0.0.1:9090`):
these are nobody's settings and are ignored.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from proxywatch.config import document
from proxywatch.config.convert import is_struct, plain, union
from proxywatch.config.document import Node, Scalar, Sequence
from proxywatch.config.faults import Faults
from proxywatch.config.place import Place, shorten
from proxywatch.config.schema import Schema
from proxywatch.errors import ConfigError

_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)$")
_SERVICE_VALUE = re.compile(r"^(tcp|udp|sctp)://", re.IGNORECASE)

Path = tuple[str, ...]


def overlay(
    environ: Mapping[str, str], schema: Schema, faults: Faults, *, others: bool
) -> Iterator[tuple[Path, Node]]:
    """The values of the variables, with the keys that they set, mappings before what lies within them."""
    found = []
    kinds = schema.kinds
    for variable, text in environ.items():
        if not _ours(variable, text, schema):
            continue
        place = Place(f"environment {shorten(variable)}")
        name = variable.removeprefix(schema.prefix).lower()
        path, kind = _resolve(name, kinds)
        if path:
            found.append((path, value(text, kind, place, faults)))
        elif not others or next(_heads(name, kinds), None):
            _unknown(name, kinds, place, faults)
    yield from sorted(found, key=lambda each: len(each[0]))


def aliased(
    environ: Mapping[str, str], schema: Schema, before: Mapping[Path, str]
) -> Iterator[tuple[Path, Node]]:
    """The values of the short names.

    Args:
        environ: The environment.
        schema: Its aliases.
        before: The texts that the file has for their keys.
    """
    for variable, effects in schema.aliases.items():
        text = environ.get(variable, "")
        if not text or _SERVICE_VALUE.search(text):
            continue
        for path, effect in effects.items():
            if path[0] in schema.kinds:
                yield (
                    path,
                    Scalar(effect(text, before.get(path)), Place(f"environment {variable}"), quoted=True),
                )


def value(text: str, kind: Any, place: Place, faults: Faults) -> Node:  # noqa: ANN401 - a type expression
    """The node of a variable's text, as the type wants it."""
    members = [plain(member)[0] for member in union(plain(kind)[0])]
    origins = [get_origin(member) for member in members]
    container = any(map(is_struct, members)) or dict in origins or Any in members
    listed = tuple in origins or list in origins
    if (container and text.strip()) or (listed and text.lstrip()[:1] == "["):
        try:
            return _placed(document.load(text, str(place)), place)
        except ConfigError as error:
            faults.add(place, error.faults[0].message)
            return Scalar("", place)
    if listed and str not in members:
        return Sequence(
            place, [Scalar(part.strip(), place, quoted=True) for part in text.split(",") if part.strip()]
        )
    return Scalar(text, place, quoted=str in members or not text)


def _placed(node: Node, place: Place) -> Node:
    """The same nodes, at the variable instead of at a line."""
    if isinstance(node, Scalar):
        return Scalar(node.text, place, quoted=node.quoted)
    if isinstance(node, Sequence):
        return Sequence(place, [_placed(item, place.item(index)) for index, item in enumerate(node.items)])
    return document.Mapping(place, {key: _placed(item, place.key(key)) for key, item in node.items.items()})


def _ours(variable: str, text: str, schema: Schema) -> bool:
    return (
        variable.startswith(schema.prefix)
        and not variable.startswith(schema.ignored)
        and not _SERVICE_LINK.search(variable)
        and not _SERVICE_VALUE.search(text)
    )


def _resolve(name: str, kinds: Mapping[str, Any]) -> tuple[Path, Any]:
    """The keys that a name such as `exit_expect_country` stands for, and the type of its value."""
    for key, rest in _heads(name, kinds):
        if not rest:
            return (key,), kinds[key]
        free = _free_keys(kinds[key])
        if free is not None:
            return (key, rest), free
        path, kind = _resolve(rest, _within(kinds[key]))
        if path:
            return (key, *path), kind
    return (), None


def _heads(name: str, kinds: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys that a name may begin with, the longest first, and what comes behind each."""
    for key in sorted(kinds, key=len, reverse=True):
        head = re.sub(r"\W", "_", key).lower()
        rest = name.removeprefix(head)
        if rest != name and rest[:1] in ("", "_"):
            yield key, rest[1:]


def _within(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """The keys of a mapping with their types."""
    for member in union(plain(kind)[0]):
        if is_struct(member):
            hints = get_type_hints(member, include_extras=True)
            return {each.encode_name: hints[each.name] for each in msgspec.structs.fields(member)}
    return {}


def _free_keys(kind: Any) -> Any:  # noqa: ANN401
    """The type of the values of a mapping whose keys are free; None for any other type."""
    found = (get_args(member)[1] for member in union(plain(kind)[0]) if get_origin(member) is dict)
    return next(found, None)


def _unknown(
    name: str, kinds: Mapping[str, Any], place: Place, faults: Faults, what: str = "section"
) -> None:
    for key, rest in _heads(name, kinds):
        if within := _within(kinds[key]):
            _unknown(rest, within, place, faults, "key")
            return
    word = name if what == "key" else name.partition("_")[0]
    faults.add_unknown(place, what, word, kinds)
