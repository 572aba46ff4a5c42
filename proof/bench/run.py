"""Run the benches, and write docs/benchmarks.md whole, or some of its sections anew.

    python proof/bench/run.py [--only NAME,...] [--minutes 10] [--quick] [--check] [--write FILE]

--only measures these anew and leaves the other sections of the page as they are. --quick is a smoke test of
all of them in a few minutes, whose figures mean nothing. --check judges what can be judged in ten minutes.
The goals are in proof/bench/goals.py; the status is 1 when one was missed, or a bench failed.
"""

import argparse
import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent)]

from bench import document  # noqa: E402
from bench.goals import judge  # noqa: E402
from bench.report import machine, table  # noqa: E402

_LONGEST = 1800.0
_CHECKED = ("children", "connections", "log", "probe", "serving", "startup", "together")
# What a bench is told: as a whole measurement, to be judged, and as a smoke test. Without a line, nothing.
_ARGUMENTS: dict[str, tuple[str, str, str]] = {
    "attacks": ("3 2", "3 2", "1 1"),
    "backlog": ("1000", "200", "20"),
    "children": ("15", "9", "2"),
    "connections": ("10000 2000 15", "10000 2000 10", "200 50 2"),
    "held": ("1000", "1000", "100"),
    "health": ("1000000", "100000", "10000"),
    "links": ("5 20 100", "20", "20"),
    "log": ("200000", "100000", "20000"),
    "probe": ("200", "100", "20"),
    "serving": ("5 5", "3 3", "1 1"),
    "startup": ("10", "5", "2"),
    "tcp": ("15", "10", "2"),
    "together": ("{minutes}", "{minutes}", "0.5"),
    "web_servers": ("3 10000", "3 10000", "1 200"),
    "wireguard": ("200", "100", "20"),
}
_PEERS = (
    "prometheus-node-exporter", "prometheus-blackbox-exporter", "prometheus-process-exporter",
    "prometheus-smokeping-prober", "mtail", "nginx", "nginx-light", "wrk", "curl",
    "dante-server", "wireguard-go",
)  # fmt: skip


def versions() -> str:
    """Of the peers that are installed from Debian's packages, and of Prometheus's client library."""
    asked = ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *_PEERS]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    client = subprocess.run(
        [sys.executable, "-c", "import importlib.metadata as m; print(m.version('prometheus_client'))"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    found = [line for line in told.splitlines() if len(line.split()) > 1]
    return ", ".join([*found, f"prometheus_client {client}"])


def run(name: str, arguments: list[str], plots: Path | None) -> tuple[str, bool]:
    """One bench: its section of the page, and whether it ran to its end; its plots go into a folder."""
    script = HERE / f"bench_{name}.py"
    print(f"== {name} {' '.join(arguments)}", flush=True)
    start = time.monotonic()
    environ = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}:{ROOT / 'proof'}:{HERE}"}
    if plots is not None:
        plots.mkdir(exist_ok=True)
        environ |= {"PLOTS": str(plots)}
    command = [sys.executable, str(script), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_LONGEST, env=environ
        )
        output, good = done.stdout, done.returncode == 0
        if not good:
            output += f"\nIt failed: {(done.stderr.strip().splitlines() or ['see above'])[-1]}\n"
    except subprocess.TimeoutExpired:
        output, good = "It did not end in time.\n", False
    print(output, flush=True)
    title, _, rest = (ast.get_docstring(ast.parse(script.read_text())) or name).partition("\n")
    said = re.sub(r"\n(?: {4}.*\n)+", "\n", rest).strip()
    day, took = time.strftime("%Y-%m-%d", time.gmtime()), time.monotonic() - start
    footer = f"`{' '.join([f'proof/bench/{script.name}', *arguments])}`, {day}, {took:.0f} s."
    return document.section(title, said, output, footer), good


def chosen(only: str, *, check: bool) -> Iterable[str]:
    """The names of the benches to run."""
    names = sorted(script.stem.removeprefix("bench_") for script in HERE.glob("bench_*.py"))
    wanted = only.split(",") if only else [name for name in names if not check or name in _CHECKED]
    if unknown := set(wanted) - set(names):
        sys.exit(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return wanted


def main() -> int:
    """Run, print, write after each."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--only", default="", help="names of benches, with commas between")
    parser.add_argument("--minutes", default="10", help="of the one that runs all exporters together")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    parser.add_argument("--check", action="store_true", help="those that are judged, briefly")
    parser.add_argument("--write", type=Path, help="the page")
    arguments = parser.parse_args()
    old = (
        arguments.write.read_text() if arguments.only and arguments.write and arguments.write.exists() else ""
    )
    head = f"Written by `make bench`. {machine()}\nPeers: {versions()}."
    plots = arguments.write.parent / "images" if arguments.write else None
    new: dict[str, str] = {}
    good = True
    for name in chosen(arguments.only, check=arguments.check):
        words = _ARGUMENTS.get(name, ("", "", ""))[2 if arguments.quick else 1 if arguments.check else 0]
        new[name], ran = run(name, words.format(minutes=arguments.minutes).split(), plots)
        good = good and ran
        if arguments.write:
            arguments.write.write_text(document.page(head, old, new))
    rows, met = judge(new)
    print(table(("bench", "figure", "goal", "measured", ""), rows))
    return int(not (good and (met or arguments.quick)))


if __name__ == "__main__":
    sys.exit(main())
