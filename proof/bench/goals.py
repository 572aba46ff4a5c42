"""What the benchmarks are to show, and where in their output it stands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A bound on a figure that a bench prints.

    Attributes:
        bench: Which one prints it.
        what: The figure, in words.
        bound: The most that it may be, or the least.
        pattern: Finds it as its one group; where it is found repeatedly, the worst one counts.
        least: Whether the bound is the least.
        unit: Of the figure.
    """

    bench: str
    what: str
    bound: float
    pattern: str
    least: bool = False
    unit: str = ""

    def figure(self, output: str) -> float | None:
        """The figure in the bench's output; None when it is not there."""
        found = [float(text.replace(",", "")) for text in re.findall(self.pattern, output, re.MULTILINE)]
        return (min if self.least else max)(found) if found else None

    def met(self, figure: float) -> bool:
        """Whether the figure keeps to the bound."""
        return figure >= self.bound if self.least else figure <= self.bound


_NUMBER = r"([\d,]+(?:\.\d+)?)"
_CELL = rf" \| {_NUMBER}"
_OTHER = r" \| [^|]+"
GOALS = (
    Goal("together", "resident memory with everything on", 55, rf"^\| proxywatch{_CELL} ", unit="MB"),
    Goal("together", "the same, beside the five exporters together", 0.6, rf"^\| proxywatch / them{_CELL} "),
    Goal(
        "together",
        "processor at the default cadence, beside the five without smokeping_prober",
        1,
        rf"^processor, .*: {_NUMBER} of theirs$",
    ),
    Goal("attacks", "memory at the worst moment", 100, rf"^\| [^|]+{_OTHER * 6}{_CELL} \|", unit="MB"),
    Goal("attacks", "longest silence of /livez", 250, rf"^\| [^|]+{_OTHER * 3}{_CELL} \|", unit="ms"),
    Goal("startup", "start to first scrape", 1, rf"^\| proxywatch{_CELL} ", unit="s"),
    Goal(
        "children",
        "a look at 1,000 sessions, beside process-exporter's scrape",
        0.1,
        rf"^process-exporter  .*= {_NUMBER}$",
    ),
    Goal("children", "the same, beside psutil.process_iter", 0.1, rf"^psutil.*= {_NUMBER}$"),
    Goal(
        "log",
        "CPU per line, beside mtail with four counters",
        0.5,
        rf"^mtail, four counters  .* {_NUMBER} of it",
    ),
    Goal(
        "log",
        "the same, its patterns unanchored",
        0.5,
        rf"^mtail, four counters, unanchored .* {_NUMBER} of it",
    ),
    Goal(
        "probe",
        "CPU per probe, beside blackbox_exporter",
        0.3,
        rf"^ +blackbox_exporter .* ours {_NUMBER} of it",
    ),
    Goal("probe", "CPU per probe, beside a curl process", 0.1, rf"^ +curl process .* ours {_NUMBER} of it"),
    Goal(
        "probe",
        "speed ceiling, beside the curl program",
        0.9,
        rf"median of the ratios in turns {_NUMBER}$",
        least=True,
    ),
    Goal(
        "links",
        "speed on shaped links, beside curl: least",
        0.97,
        rf"^\| [\d.]+{_OTHER * 2}{_CELL} \|$",
        least=True,
    ),
    Goal("links", "speed on shaped links, beside curl: most", 1.03, rf"^\| [\d.]+{_OTHER * 2}{_CELL} \|$"),
    Goal("serving", "scrapes a second", 10_000, rf"^proxywatch +{_NUMBER} ", least=True),
    Goal(
        "serving",
        "scrapes, times prometheus_client's server",
        20,
        rf"^prometheus_client +[\d,]+ +{_NUMBER} ",
        least=True,
    ),
    Goal(
        "serving",
        "scrapes, beside nginx with a file",
        0.5,
        rf"^nginx, as a file +[\d,]+ +{_NUMBER} ",
        least=True,
    ),
    Goal(
        "connections",
        "p99 of a scrape among 10,000 idle",
        50,
        rf"^[\d,]+ idle[^.]*? +[\d.]+ +{_NUMBER} ",
        unit="ms",
    ),
    Goal(
        "connections",
        "p99 of a health probe among them",
        10,
        rf"^[\d,]+ idle[^.]*?(?: +[\d.]+){{4}} +{_NUMBER} ",
        unit="ms",
    ),
    Goal(
        "connections",
        "memory per 1,000 connections",
        10,
        rf"^memory per 1,000 \w+ connections: {_NUMBER} MB",
        unit="MB",
    ),
    Goal(
        "health",
        "stretches with errors in a million health probes",
        0,
        rf"probes, {_NUMBER} stretches with errors",
    ),
)


def judge(outputs: Mapping[str, str]) -> tuple[list[tuple[str, str, str, str, str]], bool]:
    """Rows (bench, figure, goal, measured, verdict) for the benches that ran, and whether all are met."""
    rows, good = [], True
    for goal in GOALS:
        if goal.bench not in outputs:
            continue
        figure = goal.figure(outputs[goal.bench])
        met = figure is not None and goal.met(figure)
        good = good and met
        bound = f"{'≥' if goal.least else '≤'} {goal.bound:g} {goal.unit}".strip()
        measured = "not measured" if figure is None else f"{figure:,.10g}"
        rows.append((goal.bench, goal.what, bound, measured, "met" if met else "MISSED"))
    return rows, good
