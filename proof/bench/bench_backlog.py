"""A backlog of Dante's log is read while health checks and scrapes go on: none should take 50 ms.

    python proof/bench/bench_backlog.py [MEGABYTES]

The log is the recorded one of a thousand connections of 91 kinds, repeated with other clients, 1,000
MB by default. The real exporter starts on it, reads it from its beginning, keeps a checkpoint, and meanwhile
answers /livez every 10 ms and /metrics every 100 ms, each on one connection. Then, for as long, the same with
nothing to read: what is seen there is the machine's share.
"""

import gzip
import http.client
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from report import machine, table

from testbed.exporter import Exporter, exporter

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "dante" / "main.log.gz"
GOAL = 0.05


class Poller(threading.Thread):
    """Asks one face at a steady pace, and keeps how long each answer took, in seconds."""

    def __init__(self, base: str, path: str, every: float) -> None:
        super().__init__(daemon=True)
        self.seconds: list[float] = []
        self.ended = threading.Event()
        self.path = path
        self._address, self._every = urlsplit(base).netloc, every

    def run(self) -> None:
        """Until `ended` is set."""
        connection = http.client.HTTPConnection(self._address, timeout=30)
        while not self.ended.wait(self._every):
            start = time.perf_counter()
            connection.request("GET", self.path)
            answer = connection.getresponse()
            answer.read()
            self.seconds.append(time.perf_counter() - start)
            assert answer.status == 200, (self.path, answer.status)


def write(path: Path, size: int) -> int:
    """The backlog; returns its bytes."""
    recorded = gzip.decompress(RECORDED.read_bytes())
    written = number = 0
    with path.open("wb") as file:
        while written < size:
            other = b" 10.%d.%d." % (128 + (number >> 8) % 128, number % 256)
            written += file.write(recorded.replace(b" 10.77.1.", other))
            number += 1
    return written


def resident(running: Exporter) -> float:
    """Megabytes."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def read_bytes(running: Exporter) -> float:
    """Of the log, so far."""
    return running.value("dante_log_read_bytes_total") or 0


def processor(running: Exporter) -> float:
    """CPU seconds of the exporter, so far."""
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def quantiles(seconds: list[float]) -> list[str]:
    """Median, 99th percentile and maximum, in milliseconds."""
    ordered = sorted(seconds)
    chosen = (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])
    return [str(len(ordered)), *(f"{1000 * each:.1f}" for each in chosen)]


def settings(log: Path) -> dict[str, object]:
    """The log alone, from its beginning, with a checkpoint."""
    off: dict[str, object] = {"enabled": False}
    return {
        "sessions": {"log": str(log), "start": "beginning", "checkpoint": str(log.with_name("checkpoint"))},
        "latency": off, "speed": off, "exit": off, "wireguard": off,
    }  # fmt: skip


@contextmanager
def polled(running: Exporter) -> Iterator[list[Poller]]:
    """Both faces, while the block runs."""
    faces = [Poller(running.health, "/livez", 0.01), Poller(running.http, "/metrics", 0.1)]
    for face in faces:
        face.start()
    yield faces
    for face in faces:
        face.ended.set()
        face.join()


def main(megabytes: int) -> bool:
    """Print what was measured; whether the goal was met."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "danted.log"
        size = write(log, megabytes * 1_000_000)
        with exporter(Path(folder), settings(log)) as running:
            before, start = resident(running), time.monotonic()
            with polled(running) as reading:
                while read_bytes(running) < size:
                    time.sleep(0.2)
            took, spent, after = time.monotonic() - start, processor(running), resident(running)
            unparsed = running.value("dante_log_unparsed_lines_total")
            with polled(running) as idle:
                time.sleep(min(took, 60))
    print(machine())
    print(
        f"{size / 1e6:.0f} MB read in {took:.1f} s, {size / 1e6 / took:.1f} MB/s, {spent:.1f} CPU s; "
        f"resident {before:.1f} MB at the start, {after:.1f} MB at the end; {unparsed:.0f} lines unparsed\n"
    )
    rows = [
        [f"{face.path}, {when}", *quantiles(face.seconds)]
        for when, faces in (("reading", reading), ("nothing to read", idle))
        for face in faces
    ]
    print(table(["", "answers", "median ms", "p99 ms", "longest ms"], rows))
    return all(max(face.seconds) < GOAL for face in reading)


if __name__ == "__main__":
    sys.exit(not main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
