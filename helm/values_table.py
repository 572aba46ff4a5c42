"""The chart's values as a Markdown table, from values.yaml: a comment `# -- ...` above a key describes it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

_COMMENT = re.compile(r"^\s*# -- (.*)$")


def table(text: str) -> str:
    """A row per value that has a comment.

    Raises:
        ValueError: A value has no comment.
    """
    lines = text.splitlines()
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for path, node in _leaves(yaml.compose(text, yaml.SafeLoader), lines, ""):
        default = json.dumps(yaml.SafeLoader("").construct_document(node), ensure_ascii=False)
        meaning = _comment(lines, node.start_mark.line)
        if meaning is None:
            raise ValueError(f"values.yaml:{node.start_mark.line + 1}: {path} has no comment")
        rows.append(f"| `{path}` | `{default}` | {meaning} |".replace("| `` |", "| |"))
    return "\n".join(rows) + "\n"


def properties(schema: dict[str, Any]) -> str:
    """A row per property of an object's schema."""
    rows = ["| key | meaning |", "|---|---|"]
    needed = schema.get("required", [])
    for name, told in schema["properties"].items():
        rows.append(f"| `{name}`{' (needed)' if name in needed else ''} | {told['description']} |")
    return "\n".join(rows) + "\n"


def _leaves(node: yaml.Node | None, lines: list[str], prefix: str) -> Iterator[tuple[str, yaml.Node]]:
    """Values by path: mappings are gone through, unless they are commented as a whole."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        whole = _comment(lines, key.start_mark.line) is not None or not isinstance(value, yaml.MappingNode)
        if whole:
            value.start_mark = key.start_mark
            yield path, value
        else:
            yield from _leaves(value, lines, f"{path}.")


def _comment(lines: list[str], line: int) -> str | None:
    match = _COMMENT.match(lines[line - 1]) if line else None
    return match[1] if match else None
