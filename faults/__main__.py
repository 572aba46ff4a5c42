"""Bring about faults in a real pod, and hold the exporter to its invariants.

python -m faults [--sequences 100] [--seed 1] [--minutes 25] [--only WORDS] [--write docs/faults.md]
"""

import argparse
import sys
import time
from pathlib import Path
from random import Random

from bench.report import machine, table

from faults.bed import Bed
from faults.catalogue import FAULTS
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
    parser.add_argument("--minutes", type=float, default=25, help="no sequence begins after that")
    parser.add_argument("--only", default="", help="scenarios whose name has these words")
    parser.add_argument("--write", type=Path, help="a Markdown page")
    return parser.parse_args()


def main() -> int:
    """Run, print, write; 1 when an invariant was broken."""
    arguments = _arguments()
    if missing():
        print(f"faults: a pod needs {', '.join(missing())}")
        return 1
    end = time.monotonic() + 60 * arguments.minutes
    singles: list[Result] = []
    sequences: list[Result] = []
    with Bed() as bed, Clients(bed.pod, seed=arguments.seed) as clients:
        runner, dice = Runner(bed, clients), Random(arguments.seed)
        bed.until("the first round", lambda: bed.value("proxy_latency_ms"), 30)
        for fault in FAULTS.values():
            if arguments.only in fault.name:
                singles.append(runner.run([fault], _LASTS, dice))
                print(*_row(singles[-1]), singles[-1].usage, sep=" | ", flush=True)
        first = measure(bed)
        while len(sequences) < arguments.sequences and time.monotonic() < end:
            sequences.append(runner.run(draw(dice), dice.uniform(0.5, _LASTS), dice))
            print(*_sequence_row(len(sequences), sequences[-1]), sequences[-1].usage, sep=" | ", flush=True)
        last = measure(bed)
    page = _page(arguments.seed, singles, sequences, first, last)
    if arguments.write:
        arguments.write.write_text(page)
    print(page)
    return int(any(result.broken for result in (*singles, *sequences)))


def _page(
    seed: int, singles: list[Result], sequences: list[Result], first: dict[str, int], last: dict[str, int]
) -> str:
    held = sum(not result.broken for result in sequences)
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
                  [_sequence_row(n, result) for n, result in enumerate(sequences, 1)]),
            "\n## Growth\n",
            growth,
            "",
        )
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
