"""YAML of a web configuration file as texts: mappings, lists and strings, whatever the strings look like.

The format's fields define what a value means, so no scalar is resolved here: `1`, `no` and `2021-99-99` are
texts, and an unquoted password stays what it is. Only `~`, `null` and nothing are None. Tags, aliases,
duplicate keys, several documents and deep nesting are refused. A fault names its line and never quotes the
file, which has secrets in it.
"""

from collections.abc import Iterator
from typing import Any

from proxywatch.errors import ParseError

_DEEPEST = 10
_LARGEST = 256 << 10
_NULLS = ("", "~", "null", "Null", "NULL")


class YamlError(ParseError):
    """A fault of the text; `line` counts from 1, 0 when it is not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def texts(content: bytes) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read one document.

    Raises:
        YamlError: It is none, or has something that is refused.
    """
    if len(content) > _LARGEST:
        raise YamlError(f"expected at most {_LARGEST} bytes")
    import yaml  # noqa: PLC0415 - only those with such a file pay

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        builder = _Builder()
        for event in yaml.parse(content, Loader=loader):
            builder.take(event)
    except YamlError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a foreign parser raises is a fault of the file
        mark = getattr(error, "problem_mark", None)
        raise YamlError("not YAML", mark.line + 1 if mark is not None else 0) from None
    return builder.document


class _Builder:
    """Puts a document together from its events, without recursion."""

    def __init__(self) -> None:
        self.document: Any = None
        self._documents = 0
        self._open: list[tuple[Any, list[str]]] = []  # each with the key that waits for its value

    def take(self, event: Any) -> None:  # noqa: ANN401 - the library's own
        line = event.start_mark.line + 1
        kind = type(event).__name__
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise YamlError("expected one document", line)
        elif kind == "AliasEvent":
            raise YamlError("expected no aliases", line)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._open.pop()
        elif kind in ("ScalarEvent", "MappingStartEvent", "SequenceStartEvent"):
            if event.tag is not None or event.anchor is not None:
                raise YamlError("expected no tags and no anchors", line)
            self._value(kind, event, line)

    def _value(self, kind: str, event: Any, line: int) -> None:  # noqa: ANN401
        if kind != "ScalarEvent":
            value: Any = {} if kind == "MappingStartEvent" else []
            self._put(value, line)
            self._open.append((value, []))
            if len(self._open) > _DEEPEST:
                raise YamlError("nested too deeply", line)
        elif event.implicit[0] and event.value in _NULLS:
            self._put(None, line)
        else:
            self._put(event.value, line)

    def _put(self, value: Any, line: int) -> None:  # noqa: ANN401
        if not self._open:
            self.document = value
            return
        parent, key = self._open[-1]
        if isinstance(parent, list):
            parent.append(value)
        elif key:
            parent[key.pop()] = value
        elif not isinstance(value, str):
            raise YamlError("expected a text as a key", line)
        elif value in parent:
            raise YamlError("a key stands here that has been there before", line)
        else:
            key.append(value)


def paths(document: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield each key of a document with its value, the key as `section.key`."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield prefix + key, value
            yield from paths(value, f"{prefix}{key}.")
