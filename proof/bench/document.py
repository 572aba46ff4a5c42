"""The page of the benchmarks: put together from sections, each of which can be measured anew alone."""

import re
from collections.abc import Mapping

from bench.goals import judge
from bench.report import table

_SECTION = re.compile(r"^## ([a-z_]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_INTRODUCTION = (
    "Ratios compare runs of one sitting, in turns. Absolute figures are this machine's. "
    "Each section says when it was measured."
)


def sections(page: str) -> dict[str, str]:
    """The text of each section by its name; the goals, which are made from the others, are not among them."""
    return {name: text.strip("\n") for name, text in _SECTION.findall(page) if name != "goals"}


def section(title: str, said: str, output: str, footer: str) -> str:
    """One section from what its bench says of itself and what it printed."""
    markdown = any(line.startswith("|") for line in output.splitlines())
    told = output.strip("\n") if markdown else f"```text\n{output.strip(chr(10))}\n```"
    return "\n\n".join(part for part in (title, said, told, footer) if part)


def page(head: str, old: str, new: Mapping[str, str]) -> str:
    """The whole page: the new sections, and of the old ones those that were not measured anew."""
    parts = dict(sorted((sections(old) | dict(new)).items()))
    rows, _ = judge(parts)
    goals = table(("bench", "figure", "goal", "measured", ""), rows)
    told = "\n\n".join(f"## {name}\n\n{text}" for name, text in parts.items())
    return f"# Benchmarks\n\n{head}\n\n{_INTRODUCTION}\n\n## goals\n\n{goals}\n\n{told}\n"
