"""What ten thousand idle connections and two thousand silent ones cost.

    python proof/bench/bench_connections.py [IDLE] [SILENT] [SECONDS]

The idle ones sit on the exposition after one request each, the silent ones on the health face without a word.
While they do, scrapes and health probes are made 50 times a second, each over a connection of its own. Then
wrk scrapes without a pause, in turns beside the idle ones and without them: what a scrape costs is the
processor time that the exporter took for each. Raises the limit of open files as far as it may;
IDLE + SILENT + 200 must fit into it, here and in the exporter.
"""

import asyncio
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from bench_serving import wrk
from serving import Running, exporter, raise_open_files

_PACE = 0.02
_ROUNDS = 3


class Sitter(asyncio.Protocol):
    """Sits there; says one thing when it comes, if anything."""

    def __init__(self, words: bytes) -> None:
        self.words = words
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say it."""
        self.transport = transport
        if self.words:
            transport.write(self.words)  # type: ignore[attr-defined]
        else:
            self.answered.set_result(True)

    def data_received(self, data: bytes) -> None:
        """Hear the answer."""
        if not self.answered.done():
            self.answered.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be thrown out."""
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("closed"))


async def sit(url: str, count: int, words: bytes) -> list[Sitter]:
    """So many of them."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    sitters = []
    for _ in range(0, count, 100):
        made = await asyncio.gather(
            *(loop.create_connection(lambda: Sitter(words), parts.hostname, parts.port) for _ in range(100))
        )
        sitters += [sitter for _, sitter in made]
        await asyncio.gather(*(sitter.answered for _, sitter in made))
    return sitters


async def ask(url: str, path: str) -> float:
    """The seconds of one request, from the connection to the last byte."""
    parts = urlsplit(url)
    start = time.perf_counter()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    seconds = time.perf_counter() - start
    writer.close()
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")), answer[:100]
    return seconds


async def measure(us: Running, title: str, seconds: float) -> None:
    """Scrape and probe at a steady pace."""
    scrapes, probes = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        scrapes.append(await ask(us.http, "/metrics"))
        probes.append(await ask(us.health, "/readyz"))
        await asyncio.sleep(_PACE)
    print(f"{title:<34}{_told(scrapes)}   {_told(probes)}   {us.resident():7.1f} MB")


def _told(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    points = (ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1])
    return " ".join(f"{1000 * point:8.2f}" for point in points)


async def full(us: Running, seconds: float) -> tuple[float, float, float]:
    """Scrapes a second under wrk, their 99th percentile and what each cost the exporter, in ms."""
    before, start = us.cpu(), time.monotonic()
    rate, tail = await asyncio.to_thread(wrk, f"{us.http}/metrics", max(int(seconds), 1))
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", tail).groups()  # type: ignore[union-attr]
    cost = (us.cpu() - before) / (rate * (time.monotonic() - start))
    return rate, float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit], 1000 * cost


async def compare(idle: int, seconds: float) -> None:
    """Two exporters in turns: one with idle connections, one with none."""
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as other,
        exporter(Path(one)) as alone,
        exporter(Path(other)) as beside,
    ):
        sitters = await sit(beside.http, idle, b"GET /-/healthy HTTP/1.1\r\nHost: bench\r\n\r\n")
        told: dict[str, list[tuple[float, float, float]]] = {"nobody else": [], f"{idle:,} idle": []}
        for _ in range(_ROUNDS):
            for title, us in zip(told, (alone, beside), strict=True):
                told[title].append(await full(us, seconds))
        print(f"\n{'wrk, 16 connections':<34}{'scrapes/s':>11}{'p99, ms':>11}{'cost of one, ms':>18}")
        for title, rounds in told.items():
            rate, tail, cost = (statistics.median(each) for each in zip(*rounds, strict=True))
            print(f"{title:<34}{rate:>11,.0f}{tail:>11.1f}{cost:>18.3f}")
        for sitter in sitters:
            sitter.transport.close()


async def main(idle: int, silent: int, seconds: float) -> None:
    """Without them, with them, after them."""
    files = raise_open_files()
    if idle + silent + 200 > files:
        raise SystemExit(f"{files} open files are too few; try {int(files * 0.8)} connections together")
    with (
        tempfile.TemporaryDirectory() as folder,
        exporter(Path(folder), health="silence: 5m, max_connections: 4096") as us,
    ):
        print(f"{'':<34}{'scrape: median, p99, longest, ms':<29}{'health: the same':<29}resident")
        await measure(us, "nobody else", seconds)
        before = us.resident()
        sitters = await sit(us.http, idle, b"GET /-/healthy HTTP/1.1\r\nHost: bench\r\n\r\n")
        between = us.resident()
        await measure(us, f"{idle:,} idle", seconds)
        sitters += await sit(us.health, silent, b"")
        after = us.resident()
        await measure(us, f"{idle:,} idle, {silent:,} silent", seconds)
        print(f"memory per 1,000 idle connections: {(between - before) / idle * 1000:.2f} MB")
        if silent:
            print(f"memory per 1,000 silent connections: {(after - between) / silent * 1000:.2f} MB")
        for sitter in sitters:
            sitter.transport.close()
        await asyncio.sleep(2)
        await measure(us, "after they have gone", seconds)
    await compare(idle, max(seconds / 5, 1))


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    uvloop.run(main(*(arguments + [10_000, 2_000, 15][len(arguments) :])))
