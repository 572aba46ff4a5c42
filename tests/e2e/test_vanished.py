"""Clients whose machine vanishes: no FIN, no RST, no answer. The exporter and its kernel forget them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from testbed.exporter import Exporter, exporter
from testbed.namespace import Namespace

EACH = 50
PATIENCE = 3
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
SILENCE = "add table inet gone; " + "".join(
    f"add chain inet gone {hook} {{ type filter hook {hook} priority 0; policy drop; }}; "
    for hook in ("input", "output")
)

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nft", "ss"))),
        reason="needs root, unshare, nft and ss",
    ),
]


@pytest.fixture
def sides() -> Iterator[tuple[Namespace, Namespace]]:
    """Two machines with a wire between: the exporter's and the clients'."""
    with ExitStack() as stack:
        near, far = (Namespace(name, {}) for name in ("near", "far"))
        for side in (near, far):
            stack.callback(side.close)
        wire = f"ip link add eth0 netns {near.pid} type veth peer name eth0 netns {far.pid}"
        subprocess.run(wire.split(), check=True)
        for side, address in ((near, "10.89.0.1/24"), (far, "10.89.0.2/24")):
            side.exec("ip", "address", "add", address, "dev", "eth0")
            side.exec("ip", "link", "set", "eth0", "up")
        yield near, far


def call(url: str, words: bytes, *, read: bool) -> socket.socket:
    """A client that says something, and takes the answer or leaves it where it is."""
    parts = urlsplit(url)
    sock = socket.socket()
    if not read:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.settimeout(5)
    sock.connect((str(parts.hostname), parts.port or 0))
    sock.sendall(words)
    if read:
        assert sock.recv(100)
    return sock


def held(near: Namespace) -> list[str]:
    """The TCP connections that the exporter's kernel knows, in whatever state."""
    return near.exec("ss", "-Htn", "state", "connected", "exclude", "time-wait").splitlines()


def descriptors(running: Exporter) -> int:
    return len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))


def test_vanished_clients_are_forgotten(sides: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Idle ones, ones with a response in the kernel's buffer, or more than that, silent ones on health."""
    near, far = sides
    settings = {
        "http": {
            "listen": "10.89.0.1:0", "idle_timeout": f"{PATIENCE}s", "write_timeout": f"{PATIENCE}s",
        },
        "health": {"listen": "10.89.0.1:0", "silence": f"{PATIENCE}s"},
        "latency": {"enabled": False}, "speed": {"enabled": False}, "exit": {"enabled": False},
    }  # fmt: skip
    with near.entered(), exporter(tmp_path, settings) as running:
        running.get("/metrics")
        running.until("nobody", lambda: not held(near))
        before = descriptors(running)
        with far.entered():
            clients = [
                sock
                for _ in range(EACH)
                for sock in (
                    call(running.http, b"GET /-/healthy HTTP/1.1\r\n\r\n", read=True),
                    call(running.http, GET, read=False),
                    call(running.http, GET * 40, read=False),
                    call(running.health, b"GET /livez HT", read=False),
                )
            ]
        running.until("all are there", lambda: len(held(near)) == 4 * EACH)
        assert any(int(line.split()[2]) for line in held(near)), "nothing is unsent"
        far.exec("nft", SILENCE)
        start = time.monotonic()
        running.until("the exporter has forgotten them", lambda: descriptors(running) == before, 40)
        running.until("and so has its kernel", lambda: not held(near), 20)
        print(f"{4 * EACH} vanished clients forgotten after {time.monotonic() - start:.1f} s")
        assert running.get("/-/healthy").status == 200
        assert running.get("/livez", base=running.health).status == 200
        for sock in clients:
            sock.close()
