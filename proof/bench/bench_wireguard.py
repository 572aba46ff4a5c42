"""What one reading of a real tunnel costs: by the UAPI socket, and by `wg show wg0 dump` as a child process.

    sudo PYTHONPATH=src:tests:proof python proof/bench/bench_wireguard.py [ROUNDS]

Both are taken in turns, so that whatever else the machine does falls on both; both end with the same record.
The child is started by nsenter, which finds the pod's socket for it and costs one more exec.
"""

import os
import statistics
import sys
import time

import uvloop

from proxywatch.exporter.collector.wireguard import sources
from testbed.pod import Pod

_BUFFER = 1 << 16


async def measure(pod: Pod, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of wall clock and of processor, children included, by source."""
    asks = sources("wg0", str(pod.uapi.parent), ("nsenter", "-t", str(pod.pid("pod")), "-m", "wg"))
    buffer = bytearray(_BUFFER)
    costs: dict[str, list[tuple[float, float]]] = {"uapi": [], "command": []}
    for _ in range(rounds):
        for name, cost in costs.items():
            wall, processor = time.perf_counter(), processor_time()
            await asks[name](buffer)
            cost.append((time.perf_counter() - wall, processor_time() - processor))
    return costs


def processor_time() -> float:
    """Of this process and its ended children, in seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with Pod(dante=False) as pod:
        costs = uvloop.run(measure(pod, rounds))
    walls = {name: statistics.median(wall for wall, _ in cost) * 1000 for name, cost in costs.items()}
    processors = {name: sum(used for _, used in cost) / rounds * 1000 for name, cost in costs.items()}
    print("| source | median, ms | processor, ms | times the socket's |\n|---|--:|--:|--:|")
    for name, wall in walls.items():
        print(f"| {name} | {wall:.2f} | {processors[name]:.2f} | {wall / walls['uapi']:.1f} |")


if __name__ == "__main__":
    main()
