"""An exporter under measurement: the real daemon with its default collectors, on loopback alone."""

import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SETTINGS = """
http: {{listen: "127.0.0.1:0"{http}}}
health: {{listen: "127.0.0.1:0"{health}}}
latency: {{targets: ["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"], interval: 2s, timeout: 1s}}
speed: {{enabled: false}}
exit: {{enabled: false}}
interface: {{name: lo}}
"""


@dataclass(frozen=True)
class Running:
    """An exporter; the base URLs of its faces."""

    pid: int
    http: str
    health: str

    def resident(self) -> float:
        """Its memory in MB."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]

    def cpu(self) -> float:
        """The seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def exporter(folder: Path, http: str = "", health: str = "") -> Iterator[Running]:
    """Run it; `http` and `health` are further settings of the two sections."""
    conf, log = folder / "proxywatch.yaml", folder / "proxywatch.log"
    conf.write_text(SETTINGS.format(http=http and f", {http}", health=health and f", {health}"))
    with log.open("wb") as stderr:
        command = [sys.executable, "-m", "proxywatch", "run", "-c", str(conf)]
        process = subprocess.Popen(command, stderr=stderr)
    try:
        deadline = time.monotonic() + 10
        while not (
            found := re.search(r'listening http="?(\S+?)"? health="?(\S+?)"?$', log.read_text(), re.MULTILINE)
        ):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        time.sleep(3)
        yield Running(process.pid, f"http://{found[1]}", f"http://{found[2]}")
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def raise_open_files() -> int:
    """As many open files as this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
