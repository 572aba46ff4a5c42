"""Let time pass, and see whether anything grows.

python -m soak [--hours 24] [--minutes 0] [--seed 1] [--write docs/soak.md]

`--hours` are of accelerated time, `--minutes` of real time in a pod (root).
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.plot import chart
from bench.report import machine, table

from soak import real
from soak.accelerated import Day, Soak
from testbed.danted import danted
from testbed.target import target

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
_MOST = {
    "resident_mb": 1.05,
    "descriptors": 1.15,
    "tasks": 1.15,
    "objects": 1.25,
    "threads": 1.6,
    "series": 1.05,
}


def growth(samples: Sequence[Any]) -> list[tuple[str, float, float, str]]:
    """By figure: the median of the second and of the last sixth of the time, and whether that is flat."""
    sixth = max(len(samples) // 6, 1)
    found = []
    for name in list(asdict(samples[0]))[1:]:
        early = statistics.median(
            getattr(sample, name) for sample in samples[sixth : 2 * sixth] or samples[:1]
        )
        late = statistics.median(getattr(sample, name) for sample in samples[-sixth:])
        found.append((name, early, late, "flat" if late <= early * _MOST[name] + 1 else "GROWS"))
    return found


def _draw(name: str, title: str, unit: str, scale: float, samples: Sequence[Any]) -> str:
    parts = []
    for figure, legend in (
        ("resident_mb", "resident MB"),
        ("descriptors", "descriptors"),
        ("tasks", "tasks"),
        ("threads", "threads"),
    ):
        if hasattr(samples[0], figure):
            parts.append(
                (legend, [(sample.at / scale, float(getattr(sample, figure))) for sample in samples])
            )
    _IMAGES.mkdir(exist_ok=True)
    (_IMAGES / name).write_text(chart(title, unit, "MB, or how many", dict(parts)))
    return f"![{title}](images/{name})\n"


def _table(samples: Sequence[Any]) -> str:
    rows = [
        (name.replace("_mb", " MB"), f"{early:.1f}", f"{late:.1f}", verdict)
        for name, early, late, verdict in growth(samples)
    ]
    return table(("", "early", "late", "verdict"), rows) + "\n"


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
        "Python's objects grow by two lists per probe, until the endpoints of 2,048 probes are "
        "remembered.\n\n"
    )
    flat = all(row[3] == "flat" for row in growth(day.samples))
    plot = _draw("soak-day.svg", f"{hours:g} hours in accelerated time", "hours", 3600, day.samples)
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
    flat = all(row[3] == "flat" for row in growth(hour.samples))
    plot = _draw("soak-real.svg", f"{minutes:g} minutes in real time", "minutes", 60, hour.samples)
    return said + _table(hour.samples) + "\n" + plot, right and flat and not hour.unanswered


def main() -> int:
    """Run, print; 1 when something grew or was miscounted."""
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="a Markdown page")
    arguments = parser.parse_args()
    parts, well = [f"# Soak\n\nWritten by `make soak`. {machine()}\n"], True
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
