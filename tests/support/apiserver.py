"""A real kube-apiserver with its etcd on loopback; there is no kubelet: nothing runs, all of it is judged."""

import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.charts import ROOT

_TOKEN = "test"
_READY = 60.0


@dataclass(frozen=True)
class Apiserver:
    """Where it is.

    Attributes:
        url: Its base URL.
        stop: Ends it; its store stays.
        start: Starts it again, and returns when it serves.
    """

    url: str
    stop: Callable[[], None] = lambda: None
    start: Callable[[], None] = lambda: None

    @property
    def options(self) -> tuple[str, ...]:
        """What Helm has to be told."""
        return ("--kube-apiserver", self.url, "--kube-token", _TOKEN, "--kube-insecure-skip-tls-verify")

    def get(self, path: str) -> Any:
        """An object or a list of the API."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {_TOKEN}"})
        # It makes its own certificate, for nobody but this test.
        context = ssl._create_unverified_context()
        with urllib.request.urlopen(request, timeout=10, context=context) as response:
            return json.load(response)

    def names(self, path: str) -> set[str]:
        """The names of a list's objects."""
        return {item["metadata"]["name"] for item in self.get(path)["items"]}

    def ready(self) -> bool:
        """Whether it serves."""
        try:
            return bool(self.get("/apis/apps/v1"))
        except (OSError, urllib.error.HTTPError):
            return False


@contextmanager
def apiserver(directory: Path) -> Iterator[Apiserver]:
    """Start it; skip where it cannot be had.

    Raises:
        RuntimeError: It did not start; the message is its log's end.
    """
    found = subprocess.run([ROOT / "scripts/need-apiserver"], capture_output=True, text=True, check=False)
    if found.returncode or shutil.which("etcd") is None:
        pytest.skip(f"no kube-apiserver: {found.stderr[-300:]}")
    client, peer, port = (_free_port() for _ in range(3))
    etcd, etcd_peer = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    key = directory / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (directory / "tokens.csv").write_text(f"{_TOKEN},admin,1,system:masters\n")
    with ExitStack() as stack:
        store = (
            "etcd", "--data-dir", directory / "data", "--unsafe-no-fsync", "--listen-client-urls", etcd,
            "--advertise-client-urls", etcd, "--listen-peer-urls", etcd_peer,
            "--initial-advertise-peer-urls", etcd_peer, "--initial-cluster", f"default={etcd_peer}",
        )  # fmt: skip
        _start(stack, directory / "etcd.log", *store)
        server = (
            Path(found.stdout.strip()) / "kube-apiserver", "--etcd-servers", etcd, "--secure-port", str(port),
            "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--cert-dir", directory,
            "--token-auth-file", directory / "tokens.csv", "--authorization-mode", "RBAC",
            "--service-account-issuer", "https://cluster.local", "--service-account-key-file", key,
            "--service-account-signing-key-file", key, "--service-cluster-ip-range", "10.96.0.0/24",
            "--disable-admission-plugins", "ServiceAccount", "--allow-privileged=true",
        )  # fmt: skip
        processes: list[subprocess.Popen[bytes]] = []

        def stop() -> None:
            processes[-1].kill()
            processes[-1].wait()

        def start() -> None:
            processes.append(_start(stack, directory / "apiserver.log", *server))
            deadline = time.monotonic() + _READY
            while not running.ready():
                if processes[-1].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((directory / "apiserver.log").read_text()[-2000:])
                time.sleep(0.2)

        running = Apiserver(f"https://127.0.0.1:{port}", stop, start)
        start()
        yield running


def _start(stack: ExitStack, log: Path, *command: str | Path) -> "subprocess.Popen[bytes]":
    file = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
