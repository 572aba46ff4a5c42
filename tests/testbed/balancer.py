"""The balancer as its users run it: a process of its own, settings in a file, ports that the kernel chose.

with balancer(tmp_path, {"nodes": [...]}) as running:
    running.api("/api/nodes"); running.fetch("http://...", user="x-country-se")
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
from typing import Any

import yaml

_ADDRESS = re.compile(r'msg=listening relay="?(\S+?)"? api="?(\S+?)"? health="?(\S+?)"?$', re.MULTILINE)
_START = 15.0


@dataclass
class Balancer:
    """A running balancer.

    Attributes:
        process: It.
        log: Its log file.
        conf: Its settings file.
        relay: Address of the relay, HOST:PORT.
        http: Base URL of the API.
        health: Base URL of the health port.
    """

    process: "subprocess.Popen[bytes]"
    log: Path
    conf: Path
    relay: str = ""
    http: str = ""
    health: str = ""

    @property
    def port(self) -> int:
        """The relay's port."""
        return int(self.relay.rpartition(":")[2])

    def api(
        self, path: str, *, method: str = "GET", document: object = None, base: str = "", **headers: str
    ) -> tuple[int, Any]:
        """Status and document, or text where it is none."""
        data = None if document is None else json.dumps(document).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            names.setdefault("content-type", "application/json")
        request = urllib.request.Request((base or self.http) + path, data=data, method=method, headers=names)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, _read(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error.read())

    def nodes(self) -> dict[str, Any]:
        """All nodes by id."""
        return {node["id"]: node for node in self.api("/api/nodes")[1]}

    def states(self) -> dict[str, str]:
        """The state of each node."""
        return {name: node["state"] for name, node in self.nodes().items()}

    def fetch(
        self, url: str, user: str = "x", *, scheme: str = "socks5h", timeout: float = 10
    ) -> "subprocess.CompletedProcess[str]":
        """Curl through the relay; standard output is the status and the size of the body."""
        proxy = f"{scheme}://{user}:any@{self.relay}"
        command = ["curl", "-sS", "-o", "/dev/null", "-m", str(timeout), "-x", proxy]
        return subprocess.run(
            [*command, "-w", "%{http_code} %{size_download}", url],
            capture_output=True,
            text=True,
            check=False,
        )

    def until(self, what: str, so: Callable[[], object], seconds: float = 20) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.log.read_text()}"
            assert self.process.poll() is None, f"the balancer ended\n{self.log.read_text()}"
            time.sleep(0.05)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name and labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        total = 0.0
        for line in str(self.api("/metrics")[1]).splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(label in series for label in wanted):
                total += float(value)
        return total


@contextmanager
def balancer(
    directory: Path,
    settings: Mapping[str, object],
    *,
    prefix: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Balancer]:
    """Run a balancer until the block ends; it listens on loopback unless the settings say otherwise."""
    listen: dict[str, Any] = {
        "relay": {"listen": "127.0.0.1:0", "deny": []},
        "api": {"listen": "127.0.0.1:0"},
        "health": {"listen": "127.0.0.1:0"},
    }
    for section, values in settings.items():
        merged = isinstance(values, dict) and section in listen
        listen[section] = listen[section] | values if merged else values
    conf, log = directory / "balancer.yaml", directory / "balancer.log"
    conf.write_text(yaml.safe_dump(listen))
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "proxywatch", "balancer", "run", "-c", str(conf)],
            stderr=stderr, stdin=subprocess.DEVNULL, env=os.environ | dict(environ or {}),
        )  # fmt: skip
    running = Balancer(process, log, conf)
    try:
        running.until("listening", lambda: _ADDRESS.search(log.read_text()), _START)
        match = _ADDRESS.search(log.read_text())
        assert match
        running.relay, running.http, running.health = match[1], f"http://{match[2]}", f"http://{match[3]}"
        yield running
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()
