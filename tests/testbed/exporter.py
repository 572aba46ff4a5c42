"""The exporter as its users run it: a process of its own, settings in a file, ports that the kernel chose.

with exporter(tmp_path, {"proxy": {"url": ...}, ...}) as running:
    running.get("/metrics"); running.series("proxy_latency_ms"); running.ready()
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

_ADDRESS = re.compile(r'msg=listening http="?(\S+?)"? health="?(\S+?)"?$', re.MULTILINE)
_START = 10.0

Labels = tuple[tuple[str, str], ...]


TOO_MANY = 429


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    body: str
    headers: Mapping[str, str]
    seconds: float


@dataclass
class Exporter:
    """A running exporter.

    Attributes:
        process: It.
        log: Its log file.
        conf: Its settings file.
        http: The base URL of the exposition.
        health: The base URL of the health port.
    """

    process: "subprocess.Popen[bytes]"
    log: Path
    conf: Path
    http: str = ""
    health: str = ""

    def get(
        self, path: str, *, base: str = "", method: str = "GET", timeout: float = 10, **headers: str
    ) -> Answer:
        """Ask one of the ports (`base`; the exposition by default)."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request((base or self.http) + path, method=method, headers=names)
        start = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return Answer(
                    response.status,
                    response.read().decode(),
                    dict(response.headers),
                    time.monotonic() - start,
                )
        except urllib.error.HTTPError as error:
            with error:
                return Answer(
                    error.code, error.read().decode(), dict(error.headers), time.monotonic() - start
                )

    def series(self, name: str, **labels: str) -> dict[Labels, float]:
        """Samples of that name by their labels without `proxy_name`, of those that have the given labels."""
        wanted = labels.items()
        return {
            tuple(sorted((k, v) for k, v in sample.labels.items() if k != "proxy_name")): sample.value
            for family in text_string_to_metric_families(self.get("/metrics").body)
            for sample in family.samples
            if sample.name == name and wanted <= sample.labels.items()
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of those samples; None when there is none."""
        found = self.series(name, **labels)
        return sum(found.values()) if found else None

    def status(self) -> dict[str, object]:
        """/api/v1/status."""
        return dict(json.loads(self.get("/api/v1/status").body))

    def ready(self) -> int:
        """The status of /readyz."""
        return self.get("/readyz", base=self.health).status

    def reload(self) -> Answer:
        """The answer to /-/reload, asked again while there are too many."""
        while (answer := self.get("/-/reload", method="POST")).status == TOO_MANY:
            time.sleep(float(answer.headers["retry-after"]))
        return answer

    def write(self, settings: Mapping[str, object]) -> None:
        """Replace the settings file."""
        self.conf.write_text(json.dumps(settings))

    def until(self, what: str, so: Callable[[], object], seconds: float = 20) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.log.read_text()}"
            assert self.process.poll() is None, f"the exporter ended\n{self.log.read_text()}"
            time.sleep(0.05)


def proxywatch(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of it to its end."""
    command = [sys.executable, "-m", "proxywatch", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env=os.environ | environ
    )


@contextmanager
def exporter(
    directory: Path,
    settings: Mapping[str, object],
    *,
    prefix: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Exporter]:
    """Run an exporter until the block ends; it listens on loopback unless the settings say otherwise."""
    listen: dict[str, object] = {"http": {"listen": "127.0.0.1:0"}, "health": {"listen": "127.0.0.1:0"}}
    conf, log = directory / "proxywatch.yaml", directory / "proxywatch.log"
    conf.write_text(json.dumps(listen | dict(settings)))
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "proxywatch", "run", "-c", str(conf)],
            stderr=stderr, stdin=subprocess.DEVNULL, env=os.environ | dict(environ or {}),
        )  # fmt: skip
    running = Exporter(process, log, conf)
    try:
        _await_faces(running)
        yield running
    finally:
        process.kill()
        process.wait(10)


def _await_faces(running: Exporter) -> None:
    deadline = time.monotonic() + _START
    while not (match := _ADDRESS.search(running.log.read_text())):
        if running.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the exporter did not start: {running.log.read_text()}")
        time.sleep(0.02)
    running.http, running.health = (f"http://{address}" for address in match.groups())
