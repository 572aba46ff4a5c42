"""A pod with the exporter in it, as its users run it, and the handles by which faults take hold of both.

Dante's log and the exporter's checkpoint are on a small file system of their own, so that it can be filled.
Where
libfaketime is installed, the wall clock of Dante and of the exporter is read from a file, so that it can be
stepped.
"""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from prometheus_client.parser import text_string_to_metric_families

from testbed.namespace import Inside, child_of
from testbed.pod import WEB, Pod

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
METRICS, HEALTH = "http://127.0.0.1:9090", "http://127.0.0.1:9999"
_DISK = 48 << 20
_SOURCE = Path(__file__).parents[2] / "src"

Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Face:
    """An answer of a face."""

    status: int
    body: str
    seconds: float


class Bed(AbstractContextManager["Bed"]):
    """The pod, its exporter, and their disk.

    Attributes:
        pod: The pod.
        disk: Where log and checkpoint are, as the pod sees it.
        log: Dante's log, as the pod sees it.
        exporter: The exporter's process.
        lives: How many exporters there have been.
    """

    def __init__(self, **settings: Mapping[str, object]) -> None:
        self._stack = ExitStack()
        self.lives = 0
        self.offset = 0
        try:
            self.pod = self._stack.enter_context(Pod())
            self._stack.enter_context(self.pod.entered("pod"))
            self._prepare(settings)
            self.restart_dante()
            self.start_exporter()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _prepare(self, settings: Mapping[str, Mapping[str, object]]) -> None:
        self.disk = self.pod.directory / "disk"
        self.disk.mkdir()
        self.pod.exec("pod", "mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=755", "tmpfs", str(self.disk))
        self.log = self.disk / "danted.log"
        conf = self.pod.directory / "danted.conf"
        conf.write_text(conf.read_text().replace(str(self.pod.log), str(self.log)))
        self._clock = self.pod.directory / "clock"
        self._clock.write_text("+0\n")
        self.conf = self.pod.directory / "proxywatch.yaml"
        self.conf.write_text(yaml.safe_dump({**self._settings(), **settings}))
        self.journal = self.pod.directory / "proxywatch.log"

    def _settings(self) -> dict[str, Any]:
        return {
            "proxy": {"name": "bed", "url": "socks5h://127.0.0.1:1080"},
            "latency": {"interval": "1s", "timeout": "900ms", "targets": [f"http://{WEB}/get"]},
            "speed": {
                "interval": "5s", "timeout": "4s", "url": f"http://{WEB}/bytes/{{bytes}}", "bytes": "50kB",
            },
            "sessions": {
                "log": str(self.log), "start": "beginning", "checkpoint": str(self.disk / "sessions.json"),
                "include_self": False,
            },
            "exit": {"enabled": False},
            "scrape": {"interval": "1s"},
        }  # fmt: skip

    @property
    def _environ(self) -> dict[str, str]:
        own = os.environ | {"PYTHONPATH": str(_SOURCE)}
        if not FAKETIME.exists():
            return own
        return own | {
            "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "0",
        }  # fmt: skip

    # --- the exporter

    def start_exporter(self) -> None:
        """Start it and wait until it answers."""
        journal = self._stack.enter_context(self.journal.open("ab"))
        command = (sys.executable, "-m", "proxywatch", "run", "-c", str(self.conf))
        self.exporter = self.pod.popen("pod", *command, env=self._environ, stderr=journal)
        self.lives += 1
        self.until("the exporter", lambda: self.ask("/livez", HEALTH).status == 200, 15)

    def end_exporter(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal and wait for its end."""
        self.exporter.send_signal(how)
        self.exporter.wait(10)

    @property
    def pid(self) -> int:
        """The exporter itself, as seen from outside."""
        return child_of(self.exporter.pid) or self.exporter.pid

    def ask(self, path: str, base: str = METRICS, timeout: float = 5, method: str = "GET") -> Face:
        """Ask a face; status 0 when it does not answer."""
        start = time.monotonic()
        try:
            request = urllib.request.Request(base + path, method=method)
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return Face(response.status, response.read().decode(), time.monotonic() - start)
        except urllib.error.HTTPError as error:
            with error:
                return Face(error.code, error.read().decode(), time.monotonic() - start)
        except OSError:
            return Face(0, "", time.monotonic() - start)

    def series(self) -> dict[Key, float]:
        """Every sample that it exposes now; none when it does not answer."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.ask("/metrics").body)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of the samples of a name with these labels; None when there is none."""
        found = [
            value
            for (n, own), value in self.series().items()
            if n == name and labels.items() <= dict(own).items()
        ]
        return sum(found) if found else None

    def usage(self) -> dict[str, int]:
        """Descriptors, threads and resident kilobytes of the exporter."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in status)}
        fds = len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        return {"fds": fds, "threads": int(fields["Threads"][0]), "kB": int(fields["VmRSS"][0])}

    # --- Dante

    def start_dante(self) -> None:
        """Start danted and wait until it listens."""
        out = self._stack.enter_context((self.pod.directory / "danted.out").open("a"))
        conf, pid = (str(self.pod.directory / name) for name in ("danted.conf", "danted.pid"))
        command = ("/usr/sbin/danted", "-f", conf, "-p", pid)
        self.dante: Inside = self.pod.popen("pod", *command, env=self._environ, stdout=out, stderr=out)
        self.pod.wait("danted", self.dante_listens, 15)

    def dante_listens(self) -> bool:
        """Whether something listens on the proxy's port."""
        return bool(self.pod.exec("pod", "ss", "-Htln", "sport = :1080").strip())

    def dante_pids(self) -> list[int]:
        """Every process of it, as the pod sees them."""
        return [int(pid) for pid in self.pod.exec("pod", "pgrep", "-x", "danted", check=False).split()]

    def signal_dante(self, how: signal.Signals) -> None:
        """Send all of it a signal."""
        for pid in self.dante_pids():
            self.pod.exec("pod", "kill", f"-{how.value}", str(pid), check=False)

    def wake(self, process: Inside) -> None:
        """Let a stopped process go on, and the nsenter before it, which stops when its child does."""
        process.send_signal(signal.SIGCONT)
        os.kill(process.pid, signal.SIGCONT)

    def supervise_dante(self) -> None:
        """Start it if it has ended, as whoever runs its container does.

        Told to open its log anew while wg0 is gone, Dante cannot resolve `external: wg0`, and ends.
        """
        if self.dante.poll() is not None:  # its children may live on for a while; a container's do not
            self.restart_dante()

    def restart_dante(self) -> None:
        """End all of it, however it is, and start it anew."""
        for _ in range(20):
            if not self.dante_pids():
                break
            self.signal_dante(signal.SIGKILL)
        self.start_dante()

    # --- the machine

    def rename_log(self) -> None:
        """As the first half of logrotate does, keeping three: what a checkpoint points into must not go."""
        self.shell(
            f"cd {self.disk}; for n in 2 1; do mv -f danted.log.$n danted.log.$((n+1)); done 2>/dev/null"
        )
        self.shell(f"mv {self.log} {self.log}.1")

    def rotate(self) -> None:
        """Both halves: rename, have Dante reopen."""
        self.rename_log()
        self.shell(f"kill -HUP $(cat {self.pod.directory}/danted.pid)")

    def shell(self, script: str) -> str:
        """Run a script in the pod; its failure is not ours."""
        return self.pod.exec("pod", "sh", "-c", script, check=False)

    def set_clock(self, seconds: int) -> None:
        """Set the wall clock of Dante and of the exporter to so many seconds beside the true one."""
        self.offset = seconds
        beside = self._clock.with_suffix(".new")
        beside.write_text(f"{seconds:+d}\n")
        beside.replace(self._clock)

    def until(self, what: str, so: Callable[[], object], seconds: float = 20) -> float:
        """Wait until something is so; the seconds that it took."""
        start = time.monotonic()
        while True:
            with suppress(OSError):
                if so():
                    return time.monotonic() - start
            if time.monotonic() - start > seconds:
                raise TimeoutError(f"{what} not within {seconds:g} s")
            time.sleep(0.1)


def explain(bed: Bed) -> str:
    """What the exporter says of itself, for the report of a failure."""
    return json.dumps({"readyz": bed.ask("/readyz", HEALTH).body, "journal": bed.journal.read_text()[-2000:]})
