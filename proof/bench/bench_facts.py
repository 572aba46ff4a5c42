"""A round of 1,000 sidecars, of which 50 hang, 50 refuse and 50 send 50 MB: its time, memory, CPU, and the loop's lag.

python proof/bench/bench_facts.py [NODES]
"""

import asyncio
import logging
import multiprocessing
import resource
import sys
import time
from collections import Counter
from contextlib import aclosing, suppress
from random import Random

import uvloop

from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.settings import Choosing, Collect
from proxywatch.balancer.facts.fetch import SidecarFetch
from proxywatch.balancer.facts.sidecar import Sidecars
from proxywatch.balancer.node import Node, Upstream
from proxywatch.clock import SystemClock
from proxywatch.quantity import Duration

INTERVAL = 30.0
BIG = 50_000_000
TEXT = "".join(
    f"# HELP proxy_{name} x\n# TYPE proxy_{name} gauge\nproxy_{name} {value}\n"
    for name, value in (("latency_ms", 52.5), ("success_rate_percent", 100), ("download_speed_mbps", 88.1),
                        ("active_connections", 12), ("pod_memory_bytes", 1e8), ("pod_cpu_seconds_total", 100))
) + "vpn_connection_status 1\n" + "".join(f'proxy_other_total{{n="{n}"}} {n}\n' for n in range(400))  # fmt: skip


async def _serve(port: "multiprocessing.Queue[int]") -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            kind = head.split(b" ", 2)[1].split(b"/")[1]
            if kind == b"hang":
                await asyncio.sleep(3600)
            length = BIG if kind == b"big" else len(TEXT)
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % length)
            if kind == b"big":
                for _ in range(length // 100_000):
                    writer.write(b"# " + b"x" * 99_997 + b"\n")
                    await writer.drain()
            else:
                writer.write(TEXT.encode())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    port.put(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve(port: "multiprocessing.Queue[int]") -> None:
    """All sidecars, in a process of their own."""
    uvloop.run(_serve(port))


def nodes(count: int, port: int) -> list[Node]:
    """The pool."""
    kinds = ["hang"] * (count // 20) + ["refuse"] * (count // 20) + ["big"] * (count // 20)
    kinds += ["good"] * (count - len(kinds))
    Random(1).shuffle(kinds)
    return [
        Node(f"n-{number}", "se", Upstream("socks5", "127.0.0.1", 1080),
             sidecar=f"http://127.0.0.1:{1 if kind == 'refuse' else port}/{kind}/{number}")
        for number, kind in enumerate(kinds)
    ]  # fmt: skip


async def measure(count: int, port: int) -> None:
    """Two rounds; prints what they cost."""
    clock = SystemClock()
    brain = PoolBrain(
        Choosing(collect=Collect(timeout=Duration(10))), clock=clock.monotonic, wall=clock.now, dice=Random(1)
    )
    pool = nodes(count, port)
    brain.set_nodes(pool)
    before = resource.getrusage(resource.RUSAGE_SELF)
    lags: list[float] = []
    held: list[float] = []

    async def tick() -> None:
        while True:
            start, worked = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            lags.append(time.perf_counter() - start - 0.001)
            held.append(time.thread_time() - worked)

    async with aclosing(SidecarFetch(lambda: brain.settings.collect)) as fetch:
        sidecars = Sidecars(
            lambda: pool, brain.learn, fetch, interval=lambda: INTERVAL, clock=clock, dice=Random(1)
        )
        tasks = [asyncio.ensure_future(it) for it in (sidecars.run(), tick())]  # noqa: TID251 - cancelled below
        start = time.monotonic()
        while len(sidecars.states) < count and time.monotonic() - start < 3 * INTERVAL:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        took = time.monotonic() - start
        await asyncio.sleep(max(0.0, INTERVAL - took))
        spent = resource.getrusage(resource.RUSAGE_SELF)
        for task in tasks:
            task.cancel()
    good = sum(not state.fault for state in sidecars.states.values())
    cpu = spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime
    wall = time.monotonic() - start
    del held[:1]  # the round's own begin
    print(f"sidecars               {count}: {good} gave facts, {len(sidecars.states) - good} a fault each")
    print(f"first round            {took:.1f} s of an interval of {INTERVAL:.0f} s")
    print(f"CPU                    {100 * cpu / wall:.1f} % of a core over {wall:.0f} s")
    print(
        f"memory                 {before.ru_maxrss / 1024:.0f} MB before, {spent.ru_maxrss / 1024:.0f} MB at most"
    )
    print(f"loop late by           {spread(lags)}")
    print(f"its own work at a time {spread(held)}")
    faults = Counter(state.fault for state in sidecars.states.values() if state.fault)
    print(
        "faults                 " + "\n                       ".join(f"{n} {it}" for it, n in faults.items())
    )


def spread(values: list[float]) -> str:
    """Median, p99.9 and greatest, in milliseconds."""
    ordered = sorted(values)
    picked = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.999)], ordered[-1]
    return "{:.2f} ms median, {:.1f} ms p99.9, {:.1f} ms at most".format(*(1000 * it for it in picked))


def idle(result: "multiprocessing.Queue[str]") -> None:
    """A loop with nothing to do beside it: what the machine alone makes late."""

    async def tick() -> list[float]:
        lags = []
        end = time.monotonic() + INTERVAL
        while time.monotonic() < end:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append(time.perf_counter() - start - 0.001)
        return lags

    result.put(spread(uvloop.run(tick())))


def main() -> None:
    """Run it."""
    logging.disable()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    server.start()
    result: multiprocessing.Queue[str] = multiprocessing.Queue()
    beside = multiprocessing.Process(target=idle, args=(result,), daemon=True)
    where = port.get(timeout=10)
    beside.start()
    uvloop.run(measure(count, where))
    print(f"an idle loop beside it {result.get(timeout=30)}")
    server.terminate()


if __name__ == "__main__":
    main()
