"""From the start of the process to the first scrape that is answered, beside others that serve metrics.

    PYTHONPATH=src:tests:proof python proof/bench/bench_startup.py [ROUNDS]

In turns; the exporter in an environment with what requirements.lock names alone, all its collectors on,
beside a prometheus_client server that does nothing else, and node_exporter where it is installed.
"""

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from report import spread, table

import runtime
from testbed.danted import free_port

_CLIENT = "import sys, threading; from prometheus_client import start_http_server; start_http_server(int(sys.argv[1]), '127.0.0.1'); threading.Event().wait()"  # noqa: E501


def first_scrape(command: list[str], port: int) -> float:
    """Seconds until the first answer of 200."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=runtime.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
                    response.read()
                    return time.perf_counter() - start
            except OSError:
                if process.poll() is not None or time.perf_counter() - start > 20:
                    raise SystemExit(f"{command[0]} did not start") from None
                time.sleep(0.002)
    finally:
        process.kill()
        process.wait()


def commands(folder: Path) -> dict[str, tuple[list[str], int]]:
    """By name; each with the port that it serves."""
    ports = [free_port() for _ in range(4)]
    conf = folder / "proxywatch.yaml"
    conf.write_text(
        f'{{http: {{listen: "127.0.0.1:{ports[0]}"}}, health: {{listen: "127.0.0.1:{ports[1]}"}}}}'
    )
    python = runtime.python()
    found = {
        "proxywatch": ([python, "-m", "proxywatch", "run", "-c", str(conf)], ports[0]),
        "prometheus_client": ([sys.executable, "-c", _CLIENT, str(ports[2])], ports[2]),
    }
    if node := shutil.which("prometheus-node-exporter"):
        found["node_exporter"] = ([node, f"--web.listen-address=127.0.0.1:{ports[3]}"], ports[3])
    return found


def main() -> None:
    """Measure, print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        them = commands(Path(folder))
        for command, port in them.values():
            first_scrape(command, port)  # the first start of each reads its files from the disk
        times: dict[str, list[float]] = {name: [] for name in them}
        for _ in range(rounds):
            for name, (command, port) in them.items():
                times[name].append(first_scrape(command, port))
    ratios = {
        name: [us / it for us, it in zip(times["proxywatch"], own, strict=True)]
        for name, own in times.items()
    }
    rows = [(name, spread(own, 3), spread(ratios[name])) for name, own in times.items()]
    print(f"{rounds} rounds in turns; the median, the least and the most.\n")
    print(table(("server", "seconds", "proxywatch / it"), rows))


if __name__ == "__main__":
    main()
