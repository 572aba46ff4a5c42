"""A million health probes while the exposition is under full load: none refused.

    python proof/bench/bench_health.py [PROBES]

wrk asks the health face, a connection for each probe, until there were so many; another wrk scrapes without a
pause for all that time. Prints errors, rates and the 99th percentile of each stretch.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from serving import exporter

_STRETCH = 10


def main(wanted: int) -> None:
    """Probe until there were enough."""
    with tempfile.TemporaryDirectory() as folder, exporter(Path(folder)) as us:
        command = ["wrk", "-t1", "-c16", "-d3600s", f"{us.http}/metrics"]
        load = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        done = bad = 0
        tails = []
        try:
            while done < wanted:
                command = ["wrk", "-t1", "-c8", f"-d{_STRETCH}s", "--latency", f"{us.health}/livez"]
                told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                done += int(re.search(r"(\d+) requests in", told)[1])  # type: ignore[index]
                tails.append(_milliseconds(told))
                for errors in re.findall(r"Socket errors: (.*)|Non-2xx or 3xx responses: (\d+)", told):
                    print("  !", *errors)
                    bad += 1
                print(
                    f"{done:>10,} probes, p99 {tails[-1]:.1f} ms, resident {us.resident():.1f} MB", flush=True
                )
        finally:
            load.terminate()
            load.wait()
    print(f"{done:,} probes, {bad} stretches with errors, p99 from {min(tails):.1f} to {max(tails):.1f} ms")


def _milliseconds(told: str) -> float:
    found = re.search(r"^ +99% +([\d.]+)(us|ms|s) *$", told, re.MULTILINE)
    assert found, told
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
