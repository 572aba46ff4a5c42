"""The runbooks as tests read them: the parts of a page, and what its reader is told to type."""

import re
from pathlib import Path

PLACE = Path(__file__).parents[2] / "docs/runbooks"
PAGES = sorted(path for path in PLACE.glob("*.md") if path.stem != "README")
PARTS = ("Meaning", "Impact", "First look", "Causes", "When to silence")
TOOLS = ("pw", "px")
"""Short names for proxywatch, and for a command beside the proxy; README.md sets them."""


def part(page: Path, title: str) -> str:
    """The text under one of a page's headings."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no {title}"
    return found[1].strip()


def typed(page: Path) -> list[str]:
    """The lines to copy."""
    return re.findall(r"^ {4}(\S.*)$", part(page, "First look"), re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Those for the shell."""
    return [line for line in typed(page) if line.split()[0] in TOOLS]


def queries(page: Path) -> list[str]:
    """Those for Prometheus."""
    return [line for line in typed(page) if line.split()[0] not in TOOLS]
