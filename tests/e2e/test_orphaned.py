"""An exporter whose network namespace was left behind by the container that it belonged to."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2"),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def test_an_orphaned_network_namespace_ends_the_exporter(tmp_path: Path) -> None:
    """The way out goes with the container that had it; status 1 makes a restart policy act."""
    name = f"orphan-{os.getpid()}"
    off = ("latency", "speed", "exit", "wireguard", "children", "sockets", "sessions")
    settings = {section: {"enabled": False} for section in off} | {
        "interface": {"exit_when_orphaned": True},
        "http": {"listen": "127.0.0.1:9090"},
        "health": {"listen": "127.0.0.1:9999"},
    }
    conf, log = tmp_path / "proxywatch.yaml", tmp_path / "log"
    conf.write_text(yaml.safe_dump(settings))
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", "far0")
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "proxywatch", "run", "-c", str(conf)]
        with log.open("wb") as errors, subprocess.Popen(command, stderr=errors) as process:
            try:
                deadline = time.monotonic() + 15
                while "listening" not in log.read_text() and time.monotonic() < deadline:
                    time.sleep(0.05)
                time.sleep(6)  # a reading with the device
                ip("-n", name, "link", "del", "eth0")
                assert process.wait(60) == 1
            finally:
                process.kill()
        assert "was replaced" in log.read_text()
    finally:
        ip("netns", "del", name)
