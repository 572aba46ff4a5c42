"""Every claim of docs/security.md names a test or a harness that is there."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NAMED = re.compile(r"`((?:[\w/]+\.py)?)(?:::(\w+))?`")
_SHOWN = re.compile(r"`(?:[\w/]*\.py)?::\w+`|`(?:fuzz|scripts)/[\w.-]+`|`[\w/]+\.py(?:::\w+)?`")


def test_every_test_that_the_page_names_is_there() -> None:
    """`file.py::test`, `::test` of the file named before it, or a harness."""
    page = (ROOT / "docs" / "security.md").read_text()
    named = list(shown(page))
    assert [name for name in named if not is_there(name)] == []
    assert len(named) > 50


def test_every_claim_names_its_test() -> None:
    """Each row of the tables of claims, in its last cell."""
    page = (ROOT / "docs" / "security.md").read_text()
    claims = page.partition("## Claims")[2].partition("## What is not claimed")[0]
    cells = [line.strip("| ").rpartition(" | ") for line in claims.splitlines() if line.startswith("| ")]
    rows = [(claim, proof) for claim, _, proof in cells if proof != "shown by"]
    assert len(rows) >= 30
    assert [claim for claim, proof in rows if not _SHOWN.search(proof)] == []


def shown(page: str) -> Iterator[tuple[str, str]]:
    """(file, test) for each that is named; the test is empty for a whole file."""
    file = ""
    for named, test in _NAMED.findall(page):
        file = named or file
        if named or test:
            yield file, test


def is_there(name: tuple[str, str]) -> bool:
    """Whether a file defines the test."""
    file, test = name
    path = ROOT / file if file.startswith("proof/fuzz/") else ROOT / "tests" / file
    return path.is_file() and (not test or bool(re.search(rf"\bdef {test}\(", path.read_text())))
