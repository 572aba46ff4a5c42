"""Let time pass, and see whether anything grows.

python -m soak [--hours 24] [--minutes 0] [--seed 1] [--write docs/soak.md]

`--hours` are of accelerated time, `--minutes` of real time in a pod (root).
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.plot import chart
from bench.report import machine, table
from soak import real
from soak.accelerated import Day, Soak
from testbed.danted import danted
from testbed.target import target

_IMAGES = Path(__file__).parents[2] / "docs" / "images"
_MOST = {
    "resident_mb": 1.05,
    "descriptors": 1.15,
    "tasks": 1.15,
    "objects": 1.25,
    "threads": 1.6,
    "series": 1.05,
}


_SAID = (
    "Early is the median of the second sixth of the time, late that of the last one; the gain is by least "
    "squares over the last third."
)


@dataclass(frozen=True)
class Course:
    """How one figure went.

    Attributes:
        name: The figure.
        early, late: Its medians in the second and in the last sixth of the time.
        hourly: What it gains in an hour at the end, by least squares over the last third of the time.
        flat: Whether it stays, to a hundredth of it in that third, and was not much less before.
    """

    name: str
    early: float
    late: float
    hourly: float
    flat: bool


def courses(samples: Sequence[Any]) -> list[Course]:
    """One for each figure of the samples."""
    sixth = max(len(samples) // 6, 1)
    end = samples[-max(len(samples) // 3, 2) :]
    hours = (end[-1].at - end[0].at) / 3600
    found = []
    for name in list(asdict(samples[0]))[1:]:
        early = statistics.median(getattr(s, name) for s in samples[sixth : 2 * sixth] or samples[:1])
        late = statistics.median(getattr(s, name) for s in samples[-sixth:])
        hourly = 3600 * slope([(s.at, getattr(s, name)) for s in end])
        grain = 0.0 if name == "resident_mb" else 1.0
        flat = late <= early * _MOST[name] + grain and hourly * hours <= 0.01 * late + grain
        found.append(Course(name, early, late, hourly, flat))
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By least squares; 0 where there is no extent."""
    middle = statistics.fmean(x for x, _ in points)
    extent = sum((x - middle) ** 2 for x, _ in points)
    return sum((x - middle) * y for x, y in points) / extent if extent else 0.0


def _draw(name: str, title: str, unit: str, scale: float, samples: Sequence[Any]) -> str:
    """Two plots, of memory and of what is counted; the Markdown that shows them."""
    counted = [
        figure for figure in ("series", "descriptors", "tasks", "threads") if hasattr(samples[0], figure)
    ]
    lines = {
        figure: [(sample.at / scale, float(getattr(sample, figure))) for sample in samples]
        for figure in ("resident_mb", *counted)
    }
    memory = {"resident": lines.pop("resident_mb")}
    _IMAGES.mkdir(exist_ok=True)
    (_IMAGES / f"{name}.svg").write_text(chart(f"{title}: memory", unit, "MB", memory))
    (_IMAGES / f"{name}-counts.svg").write_text(chart(f"{title}: what is open", unit, "how many", lines))
    return f"![Memory](images/{name}.svg)\n\n![Series, descriptors, tasks](images/{name}-counts.svg)\n"


def _table(samples: Sequence[Any]) -> str:
    rows = [
        (
            course.name.replace("_mb", " MB"), f"{course.early:,.1f}", f"{course.late:,.1f}",
            f"{course.hourly:+,.2f}", "flat" if course.flat else "GROWS",
        )
        for course in courses(samples)
    ]  # fmt: skip
    return table(("", "early", "late", "gain per hour at the end", "verdict"), rows) + "\n"


def _day(day: Day, hours: float) -> tuple[str, bool]:
    right = day.counted == (day.truth.successful, day.truth.failed)
    said = (
        f"## {hours:g} hours in accelerated time\n\n{day.scrapes:,} scrapes, {day.probes:,.0f} "
        f"probes through a real Dante, "
        f"{day.truth.successful + day.truth.failed:,} sessions in a log that was rotated "
        f"{day.rotations} times, in {day.took:.0f} s. "
        f"The process that is measured holds the target and the clients of the soak as well.\n\n"
        f"Counted {day.counted[0]:,.0f} successes and {day.counted[1]:,.0f} failures; written were "
        f"{day.truth.successful:,} and "
        f"{day.truth.failed:,}: {'equal' if right else 'NOT EQUAL'}. "
        "Python's objects grow until the endpoints of 2,048 probes are remembered.\n\n"
    )
    flat = all(course.flat for course in courses(day.samples))
    plot = _draw("soak-day", f"{hours:g} hours in accelerated time", "hours", 3600, day.samples)
    return said + _table(day.samples) + "\n" + plot, right and flat


def _hour(hour: real.Hour, minutes: float) -> tuple[str, bool]:
    truth, counted = hour.truth, hour.counted
    right = truth.granted <= counted.successful <= truth.granted + truth.unsure
    said = (
        f"## {minutes:g} minutes in real time\n\nA pod with clients all the while, a rotation of "
        f"the log a minute, a scrape a second: "
        f"{hour.scrapes:,} scrapes, {hour.unanswered} without an answer; {truth.granted:,} requests "
        f"granted by the clients' count "
        f"({truth.unsure} unsure), {counted.successful:,.0f} counted: {'right' if right else 'WRONG'}.\n\n"
    )
    flat = all(course.flat for course in courses(hour.samples))
    plot = _draw("soak-real", f"{minutes:g} minutes in real time", "minutes", 60, hour.samples)
    return said + _table(hour.samples) + "\n" + plot, right and flat and not hour.unanswered


def main() -> int:
    """Run, print; 1 when something grew or was miscounted."""
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="a Markdown page")
    arguments = parser.parse_args()
    parts, well = [f"# Soak\n\nWritten by `make soak`. {machine()}\n\n{_SAID}\n"], True
    if arguments.hours:
        with tempfile.TemporaryDirectory() as name, target() as site, danted(Path(name)) as proxy:
            day = Soak(Path(name), proxy, site, arguments.hours, arguments.seed).run()
        text, good = _day(day, arguments.hours)
        parts.append(text)
        well = well and good
    if arguments.minutes:
        text, good = _hour(real.run(arguments.minutes, arguments.seed), arguments.minutes)
        parts.append(text)
        well = well and good
    page = "\n".join(parts)
    print(page)
    if arguments.write:
        arguments.write.write_text(page)
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
