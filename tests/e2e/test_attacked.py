"""The exporter in a pod of 128 MiB, under the attacks that make it hold most: it lives, and answers."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.exporter import Exporter, exporter

ROOT = Path(__file__).parents[2]
LIMIT = 128 << 20
SETTINGS: dict[str, object] = {name: {"enabled": False} for name in ("speed", "exit", "wireguard")} | {
    "latency": {"targets": ["http://127.0.0.1:9/"], "interval": "2s", "timeout": "1s"},
    "health": {"listen": "127.0.0.1:0", "require": []},
    "interface": {"name": "lo"},
}
KEY = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]


@contextmanager
def pod(process: int) -> Iterator[None]:
    """A control group with that much memory; as v1 or v2 has it."""
    group = Path("/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory").is_dir() else "/sys/fs/cgroup")
    group /= f"proxywatch-test-{os.getpid()}"
    try:
        group.mkdir()
        limit = group / ("memory.limit_in_bytes" if "memory" in group.parts else "memory.max")
        limit.write_text(str(LIMIT))
        (group / "cgroup.procs").write_text(str(process))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(process))
        group.rmdir()


def web_config(folder: Path) -> dict[str, object]:
    """The setting for TLS."""
    command = ["openssl", "req", "-x509", "-newkey", *KEY, "-nodes", "-days", "9", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-keyout", "k.pem", "-out", "c.pem"], cwd=folder, check=True, capture_output=True
    )
    (folder / "web.yml").write_text("tls_server_config: {cert_file: c.pem, key_file: k.pem}")
    return {"http": {"listen": "127.0.0.1:0", "web_config": str(folder / "web.yml")}}


def attack(name: str, url: str, seconds: float) -> None:
    """By a process of its own."""
    command = [sys.executable, str(ROOT / "proof" / "bench" / "attackers.py"), name, url]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": f"{ROOT}/src:{ROOT}/proof"})
    try:
        time.sleep(seconds)
        assert process.poll() is None, "the attacker ended"
    finally:
        process.kill()
        process.wait()


def alive(running: Exporter) -> None:
    """It answers, and is the same process."""
    running.until("it answers", lambda: running.get("/livez", base=running.health).status == 200, 10)
    assert running.process.poll() is None


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("tls", [False, True])
def test_lives_through_what_makes_it_hold_most(tmp_path: Path, *, tls: bool) -> None:
    """One after the other, on both ports; nothing is killed for want of memory."""
    names = (
        ("hellos", "tls_idle")
        if tls
        else ("unfinished_heads", "unfinished_hundred", "all_at_once", "half_closed", "unread", "silent")
    )
    with (
        exporter(tmp_path, SETTINGS | (web_config(tmp_path) if tls else {})) as running,
        pod(running.process.pid),
    ):
        for name in names:
            attack(name, running.http, 3)
            alive(running)
        attack("long_lines", running.health, 3)
        alive(running)
