"""The page of the benchmarks is written whole, a section of it anew, and its goals are judged."""

from pathlib import Path

import pytest

from bench import document
from bench.goals import GOALS, Goal, judge

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
TOGETHER = """\
| exporter | resident MB | proportional MB | % of a core | scrape ms (median) | body bytes |
| --- | --- | --- | --- | --- | --- |
| proxywatch | {memory} | 36.66 | 0.27 | 13.08 | 63464.00 |
| the 5 together | 90.91 | 84.23 | 1.05 | 44.68 | 97779.00 |
| proxywatch / them | 0.52 | 0.44 | 0.51 | 0.29 | 0.65 |

processor, beside the others without smokeping_prober: {processor} of theirs
"""


def test_a_section_that_is_measured_anew_takes_the_place_of_the_old_one() -> None:
    """The others stay to the letter, in the order of their names."""
    first = document.page("One.", "", {"b": "old b\n\n`b`, 1 s.", "a": "an a", "c": "a c"})
    second = document.page("Two.", first, {"b": "new b"})
    assert document.sections(second) == {"a": "an a", "b": "new b", "c": "a c"}
    assert second == first.replace("One.", "Two.").replace("old b\n\n`b`, 1 s.", "new b")


def test_what_is_no_table_stands_as_it_was_printed() -> None:
    """In a block of its own, between what the bench says of itself and how it was run."""
    assert (
        document.section("T.", "More.", "a  1\nb  2\n", "`run`")
        == "T.\n\nMore.\n\n```text\na  1\nb  2\n```\n\n`run`"
    )
    assert document.section("T.", "", "| a |\n", "`run`") == "T.\n\n| a |\n\n`run`"


@pytest.mark.parametrize(
    ("memory", "processor", "verdicts"),
    [("54.99", "1.00", ["met", "met", "met"]), ("55.10", "1.01", ["MISSED", "met", "MISSED"])],
)
def test_goals_are_judged(memory: str, processor: str, verdicts: list[str]) -> None:
    """By the figures in the output; the page begins with them."""
    output = TOGETHER.format(memory=memory, processor=processor)
    rows, good = judge({"together": output})
    assert [row[-1] for row in rows] == verdicts
    assert good == (memory == "54.99")
    page = document.page("", "", {"together": output})
    assert f"| ≤ 55 MB | {float(memory):g} | {verdicts[0]} |" in page.partition("## together")[0]


def test_the_worst_of_several_figures_counts() -> None:
    """And one that is not there is missed."""
    printed = "process-exporter  120.0 ms   ours / it = 0.05\npsutil.process_iter  1 ms   ours / it = 0.2\n"
    rows, good = judge({"children": printed + "process-exporter  90.0 ms   ours / it = 0.07\n"})
    assert [row[3:] for row in rows] == [("0.07", "met"), ("0.2", "MISSED")]
    assert not good
    rows, good = judge({"log": "mtail is not installed\n"})
    assert rows[0] == (
        "log", "CPU per line, beside mtail with four counters", "≤ 0.5", "not measured", "MISSED",
    )  # fmt: skip
    assert {row[3:] for row in rows} == {("not measured", "MISSED")}
    assert not good


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: f"{goal.bench}: {goal.what}")
def test_every_figure_is_found_on_the_page(goal: Goal) -> None:
    """A bench whose output changes shape is noticed here, once the page is written anew."""
    sections = document.sections(PAGE)
    if goal.bench in sections:
        assert goal.figure(sections[goal.bench]) is not None


def test_the_page_is_as_it_is_written() -> None:
    """Nobody edited a cell of the goals by hand."""
    head = PAGE.partition("\n\n")[2].partition("\n\nRatios")[0]
    assert document.page(head, PAGE, {}) == PAGE
