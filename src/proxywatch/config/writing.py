"""Settings back to text: as a document of plain values, and as YAML on one line; secrets are hidden."""

import json
import re
from typing import Any

import msgspec

from proxywatch.secret import Secret

_BARE = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:-]*[A-Za-z0-9_./]|[A-Za-z0-9_./]")
_NULLS = frozenset(("null", "Null", "NULL"))


def document(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """The value as JSON can hold it: quantities as people write them, a secret as `***`."""
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        return {field.encode_name: document(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {str(key): document(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return [document(item) for item in value]  # type: ignore[attr-defined]
    if isinstance(value, Secret):
        return repr(value)
    return value if value is None or type(value) in (bool, int, float) else str(value)


def flow(value: object) -> str:
    """The value in YAML's flow style, which reads back the same; a struct without what it has by default."""
    if isinstance(value, msgspec.Struct):
        value = {
            field.encode_name: getattr(value, field.name)
            for field in msgspec.structs.fields(value)
            if field.required or getattr(value, field.name) != field.default
        }
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if type(value) in (tuple, list):
        return "[" + ", ".join(map(flow, value)) + "]"  # type: ignore[call-overload]
    return _scalar(document(value))


def _scalar(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = str(value)
    return text if _BARE.fullmatch(text) and text not in _NULLS else f'"{"".join(map(_quoted, text))}"'


def _quoted(character: str) -> str:
    """A character as it stands between double quotes."""
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
