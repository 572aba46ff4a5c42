"""Run every bench, and write docs/benchmarks.md.

    python bench/run.py [--only WORDS] [--minutes 10] [--check] [--write docs/benchmarks.md]

With --check nothing is written, and the status is 1 when a goal was missed.
"""

import argparse
import ast
import os
import subprocess
import sys
import time
from pathlib import Path

from report import machine

HERE = Path(__file__).parent
_LONGEST = 1800.0
_BUDGETED = ("together", "startup")
_PEERS = (
    "prometheus-node-exporter", "prometheus-blackbox-exporter", "prometheus-process-exporter",
    "prometheus-smokeping-prober", "mtail", "nginx", "curl", "dante-server", "wireguard-go",
)  # fmt: skip


def versions() -> str:
    """Of the peers that are installed from Debian's packages."""
    asked = ["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *_PEERS]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return ", ".join(line for line in told.splitlines() if len(line.split()) > 1)


def run(script: Path, *arguments: str) -> tuple[str, bool]:
    """One of them: its section of the page, and whether it ran and met its goals."""
    print(f"== {script.stem}", flush=True)
    start = time.monotonic()
    environ = os.environ | {"PYTHONPATH": f"{HERE.parent / 'src'}:{HERE.parent / 'tests'}"}
    command = [sys.executable, str(script), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_LONGEST, env=environ
        )
        output, good = done.stdout, done.returncode == 0
        if not good:
            output += f"\nIt failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}\n"
    except subprocess.TimeoutExpired:
        output, good = "It did not end in time.\n", False
    print(output, flush=True)
    title, _, rest = (ast.get_docstring(ast.parse(script.read_text())) or script.stem).partition("\n")
    took = time.monotonic() - start
    said = "\n".join(line for line in rest.splitlines() if not line.startswith("    "))
    told = output if _is_markdown(output) else f"```text\n{output.rstrip()}\n```\n"
    name = f"`bench/{script.name}`, {took:.0f} s."
    section = f"## {script.stem.removeprefix('bench_')}\n\n{title}\n\n{said.strip()}\n\n{told}\n{name}\n"
    return section, good and "MISSED" not in output


def _is_markdown(output: str) -> bool:
    return any(line.startswith("|") for line in output.splitlines())


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--only", default="", help="benches whose name has this word")
    parser.add_argument("--minutes", default="10", help="of the one that runs all exporters together")
    parser.add_argument("--check", action="store_true", help="run those that have goals, and judge")
    parser.add_argument("--write", type=Path, help="the page")
    arguments = parser.parse_args()
    head = (
        f"# Benchmarks\n\nWritten by `make bench`. {machine()}\nPeers: {versions()}.\n\n"
        "Ratios compare runs of one sitting, in turns. Absolute figures are this machine's. "
        "Where a goal was missed it says so.\n"
    )
    parts, good = [head], True
    for script in sorted(HERE.glob("bench_*.py")):
        name = script.stem.removeprefix("bench_")
        if arguments.only not in name or (arguments.check and name not in _BUDGETED):
            continue
        section, met = run(script, *((arguments.minutes,) if name == "together" else ()))
        parts.append(section)
        good = good and met
        if arguments.write:
            arguments.write.write_text("\n".join(parts))
    return int(arguments.check and not good)


if __name__ == "__main__":
    sys.exit(main())
