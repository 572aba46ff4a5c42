"""The goals on docs/proof.md are those of the pages that it points to."""

from pathlib import Path

from bench.proof import DOCS, renewed, rows


def test_the_page_is_fresh() -> None:
    """`python proof/bench/proof.py` writes it anew."""
    assert (DOCS / "proof.md").read_text() == renewed(DOCS)


def test_what_is_missed_says_so(tmp_path: Path) -> None:
    """A fault that was not borne, a figure that grows, a goal that was missed."""
    for name in ("benchmarks", "faults", "soak", "proof"):
        (tmp_path / f"{name}.md").write_text((DOCS / f"{name}.md").read_text())
    faults = (tmp_path / "faults.md").read_text()
    (tmp_path / "faults.md").write_text(faults.replace("| holds |", "| lost two |", 1))
    soak = (tmp_path / "soak.md").read_text()
    (tmp_path / "soak.md").write_text(soak.replace("| flat |", "| GROWS |", 1))
    verdicts = {row[0].partition(":")[0]: row[3] for row in reversed(rows(tmp_path))}
    assert verdicts["single faults borne"] == "MISSED"
    assert verdicts["memory, descriptors, tasks, series flat; counts right"] == "MISSED"
    assert "single faults borne | all | " in renewed(tmp_path)
