"""A real Prometheus stores the exemplars, and they lead to the probes that the history tells of."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from testbed.danted import danted
from testbed.exporter import exporter
from testbed.target import target

pytestmark = [
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
    pytest.mark.skipif(not os.path.exists("/usr/sbin/danted"), reason="danted is not installed"),  # noqa: PTH110
]


def free_port() -> int:
    """One of those that no client is given: asking it in vain must not end in a connection to oneself."""
    for port in range(20_000, 30_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


def ask(url: str, path: str) -> Any:
    """Prometheus's answer; nothing while it has none."""
    try:
        with urllib.request.urlopen(url + path, timeout=5) as response:
            return json.load(response)["data"]
    except (urllib.error.URLError, ConnectionError):
        return []


def test_prometheus_stores_the_exemplars(tmp_path: Path) -> None:
    """It asks for OpenMetrics by itself, takes every line of it, and keeps the probes' ids."""
    with target() as site, danted(tmp_path) as proxy:
        settings = {
            "proxy": {"url": f"socks5h://127.0.0.1:{proxy.port}"},
            "latency": {"interval": "1s", "targets": [f"http://127.0.0.1:{site.port}/get"]},
            "speed": {"enabled": False}, "exit": {"enabled": False}, "interface": {"name": "lo"},
        }  # fmt: skip
        with exporter(tmp_path, settings) as running:
            conf = {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [
                    {"job_name": "us", "static_configs": [{"targets": [urlsplit(running.http).netloc]}]}
                ],
            }
            (tmp_path / "prometheus.yml").write_text(json.dumps(conf))
            listen = f"127.0.0.1:{free_port()}"
            command = [
                "prometheus",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/tsdb",
                f"--web.listen-address={listen}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ]
            with (
                (tmp_path / "prometheus.log").open("w") as log,
                subprocess.Popen(command, stderr=log) as server,
            ):
                try:
                    query = {
                        "query": "proxy_probe_duration_seconds_bucket",
                        "start": time.time() - 60,
                        "end": time.time() + 60,
                    }
                    path = "/api/v1/query_exemplars?" + urlencode(query)
                    running.until("exemplars", lambda: ask(f"http://{listen}", path), 30)
                    found = ask(f"http://{listen}", path)
                    scraped = ask(f"http://{listen}", "/api/v1/query?query=scrape_samples_scraped")["result"]
                finally:
                    server.terminate()
            told = {each["labels"]["probe_id"] for series in found for each in series["exemplars"]}
            history = running.get("/api/v1/history").body
            assert told
            assert all(f'"{probe}"' in history for probe in told), (told, history)
            assert int(scraped[0]["value"][1]) > 100
            assert "error" not in (tmp_path / "prometheus.log").read_text().lower()
