"""The time of a pick, from ten nodes to a hundred thousand, beside a pick that asks Redis.

    python bench/bench_pick.py [PICKS]

A pick is `choose` whole: scope, sample, strategy, record of the decision, connection counted. Every
connection is opened and closed again outside of the measured time. Beside it one round trip to a Redis on
loopback, MGET of two nodes' connections: the least that a balancer needs that keeps its state there. Picks
are measured in blocks, the two in turn; the quiet figure is the median of the best block, since other work on
a machine only adds to it.
"""

import contextlib
import gc
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from report import table

from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.choosing.settings import Choosing
from proxywatch.balancer.node import Node, Upstream
from proxywatch.balancer.request import Request, Wishes

SIZES = (10, 100, 1_000, 10_000, 100_000)
BLOCK = 1_000
STRATEGIES = ("health_score", "least_connections", "round_robin", "weighted_latency")


def brain(nodes: int, strategy: str = "health_score") -> PoolBrain:
    """One with so many nodes of a country, whose exits were seen."""
    made = PoolBrain(Choosing(), clock=time.monotonic, wall=time.time, dice=Random(1))
    made.set_strategy(strategy)
    made.set_nodes(Node(f"se-{at:06}", "se", Upstream("socks5", "192.0.2.1", 1080)) for at in range(nodes))
    now = time.monotonic()
    for at in range(nodes):
        values = {
            "server_latency_ms": 50.0 + at % 50,
            "cpu_percent": 3.0,
            "memory_mb": 100.0,
            "exit_country": "se",
        }
        made.learn(f"se-{at:06}", {name: Fact(value, now, "sidecar") for name, value in values.items()})
    return made


def blocks(one: Callable[[], Any], undo: Callable[[Any], None], count: int) -> Iterator[list[int]]:
    """Nanoseconds of each call, in blocks."""
    clock = time.perf_counter_ns
    for _ in range(max(1, count // BLOCK)):
        took = []
        for _ in range(BLOCK):
            start = clock()
            made = one()
            took.append(clock() - start)
            undo(made)
        yield took


def measured(one: Callable[[], Any], undo: Callable[[Any], None], count: int) -> tuple[float, float, float]:
    """Microseconds: median of the best block, median and 99th percentile of all."""
    taken = list(blocks(one, undo, count))
    every = sorted(value for block in taken for value in block)
    best = min(statistics.median(block) for block in taken)
    return best / 1000, statistics.median(every) / 1000, every[len(every) * 99 // 100] / 1000


def pick(made: PoolBrain, count: int) -> tuple[float, float, float]:
    """Of a brain."""
    now = time.monotonic()
    request = Request(now, time.time(), "192.0.2.9", wishes=Wishes(country="se"))

    def undo(choice: Choice) -> None:
        made.connected(choice, 0.05)
        made.closed(choice, 0, 0, 1.0, "client_closed")

    gc.collect()
    gc.freeze()  # as the daemon does once its pool stands
    try:
        return measured(lambda: made.choose(request), undo, count)
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def redis_server() -> Iterator[Callable[[], Any] | None]:
    """A round trip to a Redis of our own; None where there is none."""
    program = shutil.which("redis-server")
    try:
        import redis  # noqa: PLC0415 - this bench only
    except ImportError:
        program = None
    if program is None:
        yield None
        return
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            client = redis.Redis(port=port)
            for _ in range(100):
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.05)
            client.mset({"connections:a": 1, "connections:b": 2})
            yield lambda: client.mget("connections:a", "connections:b")
        finally:
            server.terminate()
            server.wait()


def main(count: int) -> None:
    """Print the tables."""
    rows = []
    figures: dict[int, tuple[float, float, float]] = {}
    with redis_server() as round_trip:
        for size in SIZES:
            figures[size] = quiet, middle, late = pick(brain(size), count)
            beside = measured(round_trip, lambda _: None, min(count, 5_000)) if round_trip else None
            ratio = f"{beside[1] / middle:.0f}" if beside else "no redis"
            shown = [f"{beside[1]:.0f}", f"{beside[2]:.0f}"] if beside else ["", ""]
            rows.append([f"{size:,}", f"{quiet:.1f}", f"{middle:.1f}", f"{late:.1f}", *shown, ratio])
    head = ("nodes", "quiet, us", "median, us", "p99, us", "Redis median, us", "p99, us", "times as fast")
    print(table(head, rows))
    print(f"\nA pick at 1,000 nodes takes {figures[1_000][0]:.1f} us in the quietest block.")
    growth = figures[100_000][0] / figures[1_000][0]
    print(f"At 100,000 nodes it takes {growth:.1f} times as long as at 1,000.\n")
    others = [[name, *(f"{value:.1f}" for value in pick(brain(1_000, name), count))] for name in STRATEGIES]
    print(table(("strategy at 1,000 nodes", "quiet, us", "median, us", "p99, us"), others))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
