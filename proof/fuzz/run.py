"""Run every harness for a while, one per core at a time, and print a table; 1 when an invariant was broken.

python proof/fuzz/run.py [SECONDS] [SEED]
"""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
_PACKAGE = ROOT / "src" / "proxywatch"
PARSERS = [
    *(_PACKAGE / "parse").glob("*.py"),
    *(
        _PACKAGE / "dante" / f"{name}.py"
        for name in ("conf", "envelope", "fast_path", "line", "reason", "rule_line", "title")
    ),
    *(_PACKAGE / "wireguard" / f"{name}.py" for name in ("device", "genetlink")),
    _PACKAGE / "probe" / "identity.py",
    _PACKAGE / "quantity.py",
]
_COUNT = re.compile(r": (\d+) inputs")
_NO_INPUT = {"__init__", "tcp_socket"}  # tables
_HARNESS = {  # of a parser whose harness has another name
    "conf": "dante_conf",
    "envelope": "dante_log",
    "fast_path": "dante_log",
    "rule_line": "dante_log",
    "line": "dante_log",
    "reason": "dante_log",
    "title": "dante_title",
    "device": "wireguard",
    "identity": "exit_identity",
}


def run(harness: Path, seconds: str, seed: str) -> tuple[bool, str]:
    """One of them: whether its invariant held, and its row of the table."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(harness), seconds, seed], capture_output=True, text=True, check=False
    )
    took = time.monotonic() - start
    match = _COUNT.search(done.stdout)
    count = int(match.group(1)) if match else 0
    held = done.returncode == 0 and count > 0
    if not held:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
    verdict = "holds" if held else "BROKEN"
    return (
        held,
        f"{harness.stem.removeprefix('fuzz_'):20} {count:>12,} {count / took:>10,.0f} {took:>8.1f}  "
        f"{verdict}",
    )


def without_harness() -> list[str]:
    """Parsers that no harness is named after."""
    named = {harness.stem.removeprefix("fuzz_") for harness in HERE.glob("fuzz_*.py")}
    parsers = {_HARNESS.get(path.stem, path.stem) for path in PARSERS}
    return sorted(parsers - named - _NO_INPUT)


def main() -> int:
    """Run them all."""
    seconds, seed = [*sys.argv[1:], *("60", "0")[len(sys.argv) - 1 :]][:2]
    os.environ.setdefault("PYTHONPATH", f"{ROOT / 'src'}:{ROOT / 'tests'}")
    print(f"{'harness':20} {'inputs':>12} {'a second':>10} {'seconds':>8}")
    all_held = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for held, row in pool.map(partial(run, seconds=seconds, seed=seed), sorted(HERE.glob("fuzz_*.py"))):
            all_held = all_held and held
            print(row, flush=True)
    lacking = without_harness()
    print(f"without a harness: {', '.join(lacking) or 'none'}")
    return int(not all_held or bool(lacking))


if __name__ == "__main__":
    sys.exit(main())
