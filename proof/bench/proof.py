"""The goals on docs/proof.md, taken from the pages on which they were measured.

python proof/bench/proof.py
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from bench import document  # noqa: E402
from bench.goals import judge  # noqa: E402
from bench.report import table  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs"
_BEGIN, _END = "<!-- goals: by proof/bench/proof.py -->\n", "<!-- end of goals -->"
_FOOTER = re.compile(r"`proof/bench/[^`]*`, (\d{4}-\d\d-\d\d), [\d,]+ s\.")
_MEASURED = re.compile(r"Measured on (\d{4}-\d\d-\d\d)")
_HEAD = ("figure", "goal", "measured", "", "on", "by")
Row = tuple[str, ...]


def rows(docs: Path) -> list[Row]:
    """One for each goal that a page tells of."""
    return [*_benchmarks(docs), *_faults(docs), *_soak(docs)]


def renewed(docs: Path) -> str:
    """docs/proof.md with the goals as they stand on the other pages."""
    before, _, rest = (docs / "proof.md").read_text().partition(_BEGIN)
    return f"{before}{_BEGIN}\n{table(_HEAD, rows(docs))}\n\n{_END}{rest.partition(_END)[2]}"


def _benchmarks(docs: Path) -> Sequence[Row]:
    page = (docs / "benchmarks.md").read_text()
    parts = document.sections(page)
    dates = {name: match[1] for name, text in parts.items() if (match := _FOOTER.search(text))}
    return [
        (what, goal, measured, verdict, dates.get(bench, _day(page)), f'`make bench BENCH="--only {bench}"`')
        for bench, what, goal, measured, verdict in judge(parts)[0]
    ]


def _faults(docs: Path) -> Sequence[Row]:
    page = (docs / "faults.md").read_text()
    singles, sequences = page.partition("## Growth")[0].split("## Sequences")
    found = []
    for what, text in (("single faults borne", singles), ("sequences of faults borne", sequences)):
        cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
        held = sum(row[-1] == "holds" for row in cells)
        verdict = "met" if held == len(cells) else "MISSED"
        found.append((what, "all", f"{held} of {len(cells)}", verdict, _day(page), "`make faults`"))
    return found


def _soak(docs: Path) -> Sequence[Row]:
    page = (docs / "soak.md").read_text()
    found = []
    for part in page.split("\n## ")[1:]:
        title = part.partition("\n")[0]
        verdicts = re.findall(r"\| (flat|GROWS) \|$", part, re.MULTILINE)
        right = not re.search(r"WRONG|NOT EQUAL", part)
        flat = verdicts.count("flat")
        found.append(
            (
                f"memory, descriptors, tasks, series flat; counts right: {title}",
                "all",
                f"{flat} of {len(verdicts)} flat, counts {'right' if right else 'WRONG'}",
                "met" if right and verdicts and flat == len(verdicts) else "MISSED",
                _day(page),
                "`make soak`",
            )
        )
    return found


def _day(page: str) -> str:
    found = _MEASURED.search(page)
    return found[1] if found else ""


if __name__ == "__main__":
    (DOCS / "proof.md").write_text(renewed(DOCS))
