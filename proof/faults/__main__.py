"""Bring about faults in a real pod, and hold the exporter to its invariants.

python -m faults [--sequences 100] [--seed 1] [--minutes 40] [--beds 3] [--only WORDS|N,...]
                 [--write docs/faults.md]

A sequence is told by the seed and its number alone: `--only 28,41` tries those two again, and no single
faults. With --only no page is written. They are shared out among so many pods that stand side by side.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random

from bench.report import machine, table
from faults.bed import Bed, explain
from faults.catalogue import FAULTS, Fault
from faults.clients import Clients
from faults.run import Result, Runner, draw, measure
from testbed.pod import missing

_LASTS = 3.0
_HEAD = ("fault", "recovered s", "requests", "slowest answer s", "what readiness said", "verdict")


@dataclass(frozen=True)
class Part:
    """What one pod bore.

    Attributes:
        singles: By the fault's name.
        sequences: By number.
        first, last: What the exporter took before the sequences and after.
    """

    singles: dict[str, Result]
    sequences: dict[int, Result]
    first: dict[str, int]
    last: dict[str, int]


def _row(result: Result) -> tuple[str, ...]:
    recovery = "no" if result.recovery is None else f"{result.recovery:.1f}"
    verdict = "; ".join(result.broken) or "holds"
    return (result.name, recovery, str(result.requests), f"{result.slowest:.2f}", result.saw, verdict)


def _sequence_row(number: int, result: Result) -> tuple[str, ...]:
    name, recovery, requests, slowest, _, verdict = _row(result)
    return (str(number), name, recovery, requests, slowest, verdict)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults")
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=40, help="no sequence begins after that")
    parser.add_argument("--beds", type=int, default=3, help="pods side by side")
    parser.add_argument("--only", default="", help="single faults whose name has these words; or numbers")
    parser.add_argument("--write", type=Path, help="a Markdown page")
    parser.add_argument("--explain", action="store_true", help="print the journal after a broken invariant")
    return parser.parse_args()


def _plan(only: str, sequences: int) -> tuple[list[Fault], list[int]]:
    """Which single faults and which sequences to run."""
    if only and only.replace(",", "").isdigit():
        return [], [int(number) for number in only.split(",")]
    return [fault for fault in FAULTS.values() if only in fault.name], list(range(1, sequences + 1))


def main() -> int:
    """Run, print, write; 1 when an invariant was broken."""
    arguments = _arguments()
    if missing():
        print(f"faults: a pod needs {', '.join(missing())}")
        return 1
    alone, numbers = _plan(arguments.only, arguments.sequences)
    beds = min(arguments.beds, len(alone) + len(numbers))
    shares = [([fault.name for fault in alone[bed::beds]], numbers[bed::beds]) for bed in range(beds)]
    with ProcessPoolExecutor(beds, get_context("fork")) as pool:
        parts = list(pool.map(_bear, [arguments] * beds, shares))
    singles = {name: result for part in parts for name, result in part.singles.items()}
    sequences = {number: result for part in parts for number, result in part.sequences.items()}
    page = _page(
        arguments.seed,
        [singles[fault.name] for fault in alone],
        dict(sorted(sequences.items())),
        parts,
    )
    if arguments.write and not arguments.only:
        arguments.write.write_text(page)
    print(page)
    return int(any(result.broken for result in (*singles.values(), *sequences.values())))


def _bear(arguments: argparse.Namespace, share: tuple[list[str], list[int]]) -> Part:
    """Run a share of them in a pod; a process of its own."""
    end = time.monotonic() + 60 * arguments.minutes
    names, numbers = share
    singles: dict[str, Result] = {}
    sequences: dict[int, Result] = {}
    with Bed() as bed, Clients(bed.pod, seed=arguments.seed) as clients:
        runner = Runner(bed, clients)
        bed.until("the first round", lambda: bed.value("proxy_latency_ms"), 30)
        for name in names:
            result = singles[name] = runner.run([FAULTS[name]], _LASTS, Random(arguments.seed))
            print(*_row(result), result.usage, sep=" | ", flush=True)
        first = measure(bed)
        for number in numbers:
            if time.monotonic() < end:
                dice = Random(f"{arguments.seed}-{number}")
                result = sequences[number] = runner.run(draw(dice), dice.uniform(0.5, _LASTS), dice)
                print(*_sequence_row(number, result), result.usage, sep=" | ", flush=True)
                if result.broken and arguments.explain:
                    print(explain(bed), flush=True)
        return Part(singles, sequences, first, measure(bed))


def _page(
    seed: int,
    singles: list[Result],
    sequences: dict[int, Result],
    parts: Sequence[Part],
) -> str:
    held = sum(not result.broken for result in sequences.values())
    growth = table(
        ("", *parts[0].first),
        [
            (f"pod {number}, {when}", *map(str, measured.values()))
            for number, part in enumerate(parts, 1)
            for when, measured in (("before the sequences", part.first), ("after", part.last))
        ],
    )
    return "\n".join(
        (
            "# Faults\n",
            f"Written by `make faults`. {machine()}\n",
            "Each row is a fault in a real pod (WireGuard, Dante, a client, a far end), brought "
            "about for a few seconds while "
            "clients make requests. The invariants are in `proof/faults/invariants.py`: both ports answer "
            "within a second, "
            "no counter decreases, the requests counted are those that clients made, it recovers "
            "without help.\n",
            table(_HEAD, [_row(result) for result in singles]),
            f"\n## Sequences\n\n{len(sequences)} sequences of one to four faults at a time, drawn "
            f"from seed {seed}; "
            f"the invariants held after {held} of them.\n",
            table(("", "faults", "recovered s", "requests", "slowest answer s", "verdict"),
                  [_sequence_row(number, result) for number, result in sequences.items()]),
            "\n## Growth\n",
            growth,
            "",
        )
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
