"""The settings as a JSON schema, from the structs that hold them: Helm refuses what the program would."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from proxywatch.config import Schema
from proxywatch.reference import sentences

Json = dict[str, Any]

_DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
_ZERO = r"^(0+(\.0+)?(ms|s|m|h|d))+$"
_LESS_THAN_A_SECOND = r"^([0-9]{1,3}(\.[0-9]+)?ms|0*(\.[0-9]+)?s|(0+(\.0+)?(ms|s|m|h|d))+)$"
_SIZE = r"^\s*[0-9]+(\.[0-9]+)?\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\s*$"
_QUANTITIES: dict[str, Json] = {
    "Duration": {"type": "string", "pattern": _DURATION},
    "Secret": {"type": "string"},
    "Size": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE}]},
    "Url": {"type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^\s/@]+(/\S*)?([?#]\S*)?$"},
    "Address": {"type": "string", "pattern": "^(unix:/.*|.*:[0-9]{1,5})$"},
    "Addresses": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}
_PLAIN: dict[object, Json] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    NoneType: {"type": "null"},
}
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def settings_schema(schema: Schema) -> Json:
    """The schema of a settings file."""
    sections = {name: of_struct(struct) for name, struct in schema.sections.items()}
    return _mapping(sections) | {"description": "proxywatch's own settings by section, docs/settings.md"}


def of_struct(struct: type[msgspec.Struct]) -> Json:
    """A mapping with the struct's fields, and no others."""
    meanings, hints = sentences(struct), get_type_hints(struct, include_extras=True)
    fields = msgspec.structs.fields(struct)
    properties = {field.name: of_type(hints[field.name]) for field in fields}
    for name, meaning in meanings.items():
        if name in properties:
            properties[name] = properties[name] | {"description": meaning}
    return _mapping(properties, [field.name for field in fields if field.required])


def of_type(kind: Any) -> Json:  # noqa: ANN401 - a type expression
    """What a value of the type looks like in YAML; open where a type of its own reads what is written.

    Raises:
        TypeError: A type of which this knows nothing.
    """
    if get_origin(kind) is not None:
        return _of_generic(get_origin(kind), get_args(kind))
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return of_struct(kind)
    if hasattr(kind, "parse"):
        return dict(_QUANTITIES.get(kind.__name__, {}))
    raise TypeError(f"no schema for {kind}")


def _of_generic(origin: object, arguments: tuple[Any, ...]) -> Json:
    if origin is Annotated:
        return _bounded(of_type(arguments[0]), arguments[1:])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in {Union, UnionType}:
        return {"anyOf": [of_type(member) for member in arguments]}
    if origin is tuple:
        return {"type": "array", "items": of_type(arguments[0])}
    raise TypeError(f"no schema for {origin}")


def _mapping(properties: dict[str, Json], required: list[str] | None = None) -> Json:
    needed = {"required": required} if required else {}
    return {"type": "object", "additionalProperties": False, "properties": properties} | needed


def _bounded(schema: Json, extras: tuple[object, ...]) -> Json:
    bounds = {
        word: getattr(extra, name)
        for extra in extras
        for name, word in _BOUNDS.items()
        if getattr(extra, name, None) is not None
    }
    if schema.get("pattern") == _DURATION:
        least = bounds.get("minimum", 0)
        if least >= 1:
            return schema | {"not": {"pattern": _LESS_THAN_A_SECOND}}
        return schema | {"not": {"pattern": _ZERO}} if least or "exclusiveMinimum" in bounds else schema
    return schema | bounds if schema.get("type") in {"integer", "number"} else schema
