"""Bring about faults in a real pod, and hold the exporter to its invariants.

python -m faults [--sequences 100] [--seed 1] [--minutes 40] [--only WORDS|N,...] [--write docs/faults.md]

A sequence is told by the seed and its number alone: `--only 28,41` tries those two again, and no single
faults. With --only no page is written.
"""

import argparse
import sys
import time
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
    end = time.monotonic() + 60 * arguments.minutes
    alone, numbers = _plan(arguments.only, arguments.sequences)
    singles: list[Result] = []
    sequences: dict[int, Result] = {}
    with Bed() as bed, Clients(bed.pod, seed=arguments.seed) as clients:
        runner = Runner(bed, clients)
        bed.until("the first round", lambda: bed.value("proxy_latency_ms"), 30)
        for fault in alone:
            singles.append(runner.run([fault], _LASTS, Random(arguments.seed)))
            print(*_row(singles[-1]), singles[-1].usage, sep=" | ", flush=True)
        first = measure(bed)
        for number in numbers:
            if time.monotonic() < end:
                dice = Random(f"{arguments.seed}-{number}")
                result = runner.run(draw(dice), dice.uniform(0.5, _LASTS), dice)
                sequences[number] = result
                print(*_sequence_row(number, result), result.usage, sep=" | ", flush=True)
                if result.broken and arguments.explain:
                    print(explain(bed), flush=True)
        last = measure(bed)
    page = _page(arguments.seed, singles, sequences, first, last)
    if arguments.write and not arguments.only:
        arguments.write.write_text(page)
    print(page)
    return int(any(result.broken for result in (*singles, *sequences.values())))


def _page(
    seed: int,
    singles: list[Result],
    sequences: dict[int, Result],
    first: dict[str, int],
    last: dict[str, int],
) -> str:
    held = sum(not result.broken for result in sequences.values())
    growth = table(
        ("", *first),
        [("before the sequences", *map(str, first.values())), ("after", *map(str, last.values()))],
    )
    return "\n".join(
        (
            "# Faults\n",
            f"Written by `make faults`. {machine()}\n",
            "Each row is a fault in a real pod (WireGuard, Dante, a client, a far end), brought "
            "about for a few seconds while "
            "clients make requests. The invariants are in `faults/invariants.py`: both ports answer "
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
