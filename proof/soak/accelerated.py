"""The whole daemon in this process on a fast clock: real listeners, a real log, real probes."""

import asyncio
import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import uvloop
import yaml

from proxywatch.config import Config, load
from proxywatch.exporter import daemon
from proxywatch.exporter.daemon import Listeners
from proxywatch.exporter.settings import SCHEMA
from proxywatch.exporter.table import Context
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.transfer import Transfers
from soak.clock import FastClock
from soak.log import Log, Truth
from testbed.danted import Danted
from testbed.target import Target

_STEP = 15.0
_SAMPLE = 600.0
_ROTATE = 3600.0
_SESSIONS = 7
_REAL_TIME_FOR_PROBES = 0.004


@dataclass(frozen=True)
class Sample:
    """How large it is at a moment of its time (seconds)."""

    at: float
    resident_mb: float
    descriptors: int
    tasks: int
    objects: int
    series: int


@dataclass(frozen=True)
class Day:
    """What was seen.

    Attributes:
        samples: One every ten minutes of its time.
        truth: Of the log.
        counted: Requests that succeeded and failed, as exposed at the end.
        scrapes, probes, rotations: How many there were.
        took: Seconds of real time.
    """

    samples: list[Sample]
    truth: Truth
    counted: tuple[float, float]
    scrapes: int
    probes: float
    rotations: int
    took: float


def settings(folder: Path, proxy: Danted, site: Target) -> dict[str, object]:
    """Everything at its default cadence."""
    base = f"http://127.0.0.1:{site.port}"
    return {
        "proxy": {"name": "soak", "url": f"socks5h://127.0.0.1:{proxy.port}"},
        "latency": {"targets": [f"{base}/get"]},
        "speed": {"url": f"{base}/bytes/{{bytes}}", "bytes": "100kB"},
        "exit": {"enabled": False},
        "interface": {"name": "lo"},
        "sockets": {"port": proxy.port},
        "sessions": {
            "log": str(folder / "soak.log"),
            "start": "beginning",
            "checkpoint": str(folder / "checkpoint"),
        },
        "http": {"listen": "127.0.0.1:0"},
        "health": {"listen": "127.0.0.1:0"},
        "log": {"level": "error"},
    }


class Soak:
    """One run of so many hours of its time."""

    def __init__(self, folder: Path, proxy: Danted, site: Target, hours: float, seed: int) -> None:
        self._conf = yaml.safe_dump(settings(folder, proxy, site))
        self._clock = FastClock(time.time())
        self._log = Log(folder / "soak.log", seed)
        self._site = site
        self._seconds = hours * 3600
        self._samples: list[Sample] = []
        self._scrapes = 0
        self._body = b""

    def run(self) -> Day:
        """Let the time pass."""
        start = time.monotonic()
        with patch.object(daemon, "new_context", self._context):
            uvloop.run(self._whole())
        figures = dict(line.rsplit(b" ", 1) for line in self._body.splitlines() if not line.startswith(b"#"))

        def total(name: bytes) -> float:
            return sum(float(value) for key, value in figures.items() if key.split(b"{")[0] == name)

        counted = (total(b"proxy_requests_successful_total"), total(b"proxy_requests_failed_total"))
        probes = total(b"proxy_probe_attempts_total") + total(b"proxy_speedtest_attempts_total")
        took = time.monotonic() - start
        return Day(self._samples, self._log.truth, counted, self._scrapes, probes, self._log.rotations, took)

    def _context(self, config: Config) -> Context:
        return Context(clock=self._clock, proxy=config[Proxy], transfers=Transfers(self._clock))

    async def _whole(self) -> None:
        listening: asyncio.Future[Listeners] = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(
                daemon.run(lambda: load(self._conf, {}, SCHEMA), listening.set_result)
            )
            listeners = await listening
            await self._pass(listeners)
            running.cancel()

    async def _pass(self, listeners: Listeners) -> None:
        passed = 0.0
        while passed < self._seconds:
            self._log.write(self._clock.now(), _SESSIONS)
            if passed % _ROTATE == _ROTATE - _STEP:
                self._log.rotate()
            await self._clock.pass_(_STEP)
            await asyncio.sleep(_REAL_TIME_FOR_PROBES)
            passed += _STEP
            self._body = await _get(listeners.http[0], "/metrics")
            await _get(listeners.health[0], "/readyz")
            self._scrapes += 1
            self._site.requests.clear()
            self._site.peers.clear()
            if passed % _SAMPLE == 0:
                self._samples.append(self._sample(passed))
        await self._clock.pass_(_STEP)
        await asyncio.sleep(0.5)
        self._body = await _get(listeners.http[0], "/metrics")

    def _sample(self, at: float) -> Sample:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        series = sum(not line.startswith(b"#") for line in self._body.splitlines())
        return Sample(
            at, pages * os.sysconf("SC_PAGE_SIZE") / 1e6, descriptors, len(asyncio.all_tasks()),
            len(gc.get_objects()), series,
        )  # fmt: skip


async def _get(address: str, path: str) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2]
