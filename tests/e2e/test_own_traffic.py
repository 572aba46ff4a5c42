"""Our own probes are told from clients over a kill -9: the exporter as a process beside a real Dante."""

import subprocess
import time
from pathlib import Path

import pytest

from testbed.danted import danted
from testbed.exporter import Exporter, exporter
from testbed.target import target


def opened(running: Exporter, origin: str) -> float:
    return running.value("proxy_sessions_opened_total", command="connect", origin=origin) or 0


@pytest.mark.slow
def test_probes_of_the_last_seconds_are_ours_after_a_kill(tmp_path: Path) -> None:
    """What was probed after the last checkpoint is read again, by a process that did not probe it."""
    with target() as site, danted(tmp_path) as proxy:
        url = f"http://127.0.0.1:{site.port}/get"
        settings = {
            "proxy": {"name": "golden-crab", "url": f"socks5h://127.0.0.1:{proxy.port}"},
            "latency": {"interval": "1s", "timeout": "150ms", "targets": [url]},
            "speed": {"enabled": False},
            "exit": {"enabled": False},
            "wireguard": {"enabled": False},
            "sessions": {
                "log": str(proxy.log),
                "start": "beginning",
                "checkpoint": str(tmp_path / "checkpoint"),
            },
        }
        for life in range(3):
            with exporter(tmp_path, settings) as running:
                running.until("probes", lambda: opened(running, "self") >= 10 * (life + 1))  # noqa: B023
                if life == 0:
                    client = ["curl", "-s", "-o", "/dev/null", "-x", f"socks5h://127.0.0.1:{proxy.port}", url]
                    subprocess.run(client, check=True)
                running.until("the client", lambda: opened(running, "client") == 1)
                time.sleep(1.3)  # not the time of a checkpoint: what follows is what a kill forgets
                running.process.kill()
                running.process.wait()
        settings["latency"] = {"enabled": False}
        with exporter(tmp_path, settings) as running:
            total = proxy.log.read_text().count("tcp/connect [:")
            running.until("all", lambda: opened(running, "self") + opened(running, "client") == total)
            assert (opened(running, "client"), opened(running, "self")) == (1, total - 1)
            print(f"\n{total - 1} probes of four processes, three of which were killed")
