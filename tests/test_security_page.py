"""Every claim of docs/security.md names a test or a harness that is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NAMED = re.compile(r"`((?:[\w/]+\.py)?)(?:::(\w+))?`")


def test_every_test_that_the_page_names_is_there() -> None:
    """`file.py::test`, `::test` of the file named before it, or a harness."""
    page = (ROOT / "docs" / "security.md").read_text()
    missing, file, count = [], "", 0
    for named, test in _NAMED.findall(page):
        file = named or file
        if named or test:
            count += 1
            path = ROOT / file if file.startswith("fuzz/") else ROOT / "tests" / file
            if not path.is_file() or f"def {test}" not in path.read_text():
                missing.append(f"{file}::{test}")
    assert missing == []
    assert count > 50
