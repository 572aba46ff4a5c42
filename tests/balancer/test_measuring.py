"""What the balancer measures by itself, before real Dantes that have no sidecars, one of them behind another."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from testbed.balancer import Balancer, balancer
from testbed.danted import BINARY, danted
from testbed.exporter import proxywatch

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="needs danted")


class Far:
    """A target, a service that tells where one is, and a source of bytes; slow when a test says so."""

    def __init__(self) -> None:
        self.countries = ["se", "se"]
        self.delay = 0.0
        self.down = False
        self.downloaded = 0
        self.paths: list[str] = []
        far = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                far.paths.append(self.path)
                parts = urlsplit(self.path)
                if far.down:
                    self.send_error(503)
                    return
                time.sleep(far.delay)
                if parts.path == "/bytes":
                    body = b"x" * int(parse_qs(parts.query)["n"][0])
                    far.downloaded += len(body)
                elif parts.path.startswith("/who"):
                    country = far.countries[int(parts.path[-1])]
                    body = json.dumps({"ip": "203.0.113.7", "country_code": country}).encode()
                else:
                    body = b"ok"
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "probe": {"interval": "1s", "timeout": "3s", "targets": [f"{self.url}/a", f"{self.url}/b"]},
            "exit": {
                "urls": [f"{self.url}/who0", f"{self.url}/who1"],
                "interval": "1s",
                "verify": "required",
            },
            "speed": {"url": f"{self.url}/bytes?n={{bytes}}", "bytes": "200kB", "budget": "2MB per day"},
        } | more


@contextmanager
def far() -> Iterator[Far]:
    serving = Far()
    thread = threading.Thread(target=serving.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        serving.server.shutdown()
        serving.server.server_close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_nodes_without_sidecars_are_seen_probed_and_tested(tmp_path: Path) -> None:
    """Their exits are verified, also over two hops; a drift ejects within an interval; the budget is shown and kept."""
    with ExitStack() as stack:
        there = stack.enter_context(far())
        ports = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            ports.append(stack.enter_context(danted(tmp_path / name)).port)
        nodes = [
            {"id": "se-1", "country": "se", "url": f"socks5h://127.0.0.1:{ports[0]}"},
            {"id": "se-2", "country": "se", "url": f"socks5h://127.0.0.1:{ports[1]}", "via": "se-1"},
            {"id": "se-3", "country": "se", "url": f"socks5h://127.0.0.1:{_free_port()}"},
        ]
        running = stack.enter_context(balancer(tmp_path, there.settings(nodes=nodes)))
        running.until(
            "verified",
            lambda: running.states() == {"se-1": "ready", "se-2": "ready", "se-3": "unverified"},
        )
        now = running.api("/api/metrics/current")[1]["nodes"]
        assert now["se-1"]["exit_country"] == "se"
        assert now["se-2"]["exit"]["answers"] == 2
        running.until("probed", lambda: running.metric("balancer_probe_up") == 2)
        running.until(
            "blamed",
            lambda: running.nodes()["se-3"]["facts"].get("success_rate_percent", {}).get("value") == 0,
        )
        assert running.api("/api/metrics/current")[1]["nodes"]["se-2"]["success_rate_percent"] == 100
        _checked(running)
        _speeds(running, there)
        there.countries = ["se", "de"]
        time.sleep(2.5)
        assert running.states()["se-1"] == "ready"
        there.countries = ["de", "de"]
        running.until(
            "drifted", lambda: running.states()["se-1"] == running.states()["se-2"] == "wrong_exit", 5
        )
        report = running.api("/api/reports?hours=1")[1]
        assert report["by_country"]["se"]["ejections"] >= 2
        assert report["performance_trends"]["se-3"]["latency_trend"] == "insufficient_data"
        assert report["by_country"]["se"]["failover_events"] == 0
        assert running.api("/api/reports?hours=0")[0] == 422
        assert "| se | 3 |" in running.api("/api/reports.md")[1]
        assert "<h2>Nodes</h2>" in running.api("/api/reports.html")[1]
        assert "| se | 3 |" in proxywatch("balancer", "report", "--url", running.http).stdout
        assert (
            json.loads(proxywatch("balancer", "report", "--json", "--url", running.http).stdout)[
                "period_hours"
            ]
            == 24
        )
        prediction = running.api("/api/load-balancer/prediction/se?hours=3")
        assert prediction[1]["status"] == "insufficient_data"
        assert running.api("/api/load-balancer/prediction/jp")[0] == 404


def _checked(running: Balancer) -> None:
    """What `check` tries by itself."""
    checked = proxywatch("balancer", "check", "-c", str(running.conf)).stdout
    for line in ("se-2      2 of 2 targets answer through it", "se-2      its exit 203.0.113.7 is in se",
                 "se-3      no target is reached through it", "every 20.8 h"):  # fmt: skip
        assert line in checked, checked


def _speeds(running: Balancer, there: Far) -> None:
    """Tests that are asked for, until the budget is spent."""
    assert running.api("/api/speed-test/node/se-9", method="POST")[0] == 404
    status, answer = running.api("/api/speed-test/node/se-1", method="POST")
    assert (status, answer["nodes"]) == (202, ["se-1"])
    running.until("tested", lambda: running.api("/api/speed-test/results/se-1")[1]["latest"])
    result = running.api("/api/speed-test/results/se-1")[1]["latest"]
    assert result["ok"]
    assert result["size_bytes"] == 200_000
    assert result["download_mbps"] > 0
    assert running.api("/api/speed-test/run-all", method="POST")[0] == 202
    for _ in range(20):
        status, answer = running.api("/api/speed-test/se-2", method="POST")
        if status == 429:
            break
        running.until("done", lambda: not running.api("/api/speed-test/summary")[1]["waiting"])
    assert status == 429
    assert "budget is spent" in answer["detail"]
    summary = running.api("/api/speed-test/summary")[1]
    assert summary["budget"]["limit_bytes"] == 2_000_000
    assert summary["budget"]["spent_bytes"] == there.downloaded <= 2_000_000
    assert running.metric("balancer_speed_test_bytes_total") == there.downloaded
    assert summary["total_tests"] == len(running.api("/api/speed-test/results")[1])


def test_an_outage_of_the_targets_ejects_nobody(tmp_path: Path) -> None:
    """Nor does it take the exits for lost at once; and clients are served meanwhile."""
    with ExitStack() as stack:
        there = stack.enter_context(far())
        (tmp_path / "one").mkdir()
        port = stack.enter_context(danted(tmp_path / "one")).port
        nodes = [{"id": f"se-{it}", "country": "se", "url": f"socks5h://127.0.0.1:{port}"} for it in (1, 2)]
        running = stack.enter_context(balancer(tmp_path, there.settings(nodes=nodes)))
        running.until("seen", lambda: set(running.states().values()) == {"ready"})
        there.down = True
        failed = running.metric("balancer_probe_failures_total")
        running.until("failing", lambda: running.metric("balancer_probe_failures_total") >= failed + 8)
        assert set(running.states().values()) == {"ready"}
        assert running.fetch(f"{there.url}/a", "x-country-se").stdout.startswith("503")


@pytest.mark.slow
def test_hundreds_of_exits_over_one_proxy(tmp_path: Path) -> None:
    """A relay list behind one node: every relay is verified by itself, and serves clients over two hops."""
    with ExitStack() as stack:
        there = stack.enter_context(far())
        ports = []
        for name in ("entry", "relay"):
            (tmp_path / name).mkdir()
            ports.append(stack.enter_context(danted(tmp_path / name)).port)
        relays = [
            {"hostname": f"se-got-wg-{number:03}", "country_code": "se", "city_code": "got", "active": True,
             "type": "wireguard", "socks_name": "localhost", "socks_port": ports[1]}
            for number in range(300)
        ]  # fmt: skip
        (tmp_path / "relays.json").write_text(json.dumps(relays))
        settings = there.settings(
            nodes=[{"id": "entry", "country": "se", "url": f"socks5h://127.0.0.1:{ports[0]}"}],
            discovery={"mullvad": {"via": "entry", "file": str(tmp_path / "relays.json")}},
        )
        settings["exit"]["interval"] = settings["probe"]["interval"] = "60s"
        running = stack.enter_context(balancer(tmp_path, settings))
        running.until("all there", lambda: running.metric("balancer_nodes") == 301, 30)
        running.until("all verified", lambda: set(running.states().values()) == {"ready"}, 60)
        for number in (0, 150, 299):
            user = f"x-server-se-got-wg-{number:03}"
            assert running.fetch(f"{there.url}/a", user).stdout == "200 2"
            newest = running.api("/api/load-balancer/decisions?limit=1")[1][0]
            assert newest["node"] == f"se-got-wg-{number:03}"
        (tmp_path / "relays.json").write_text(json.dumps(relays[:100]))
        running.until("gone", lambda: running.metric("balancer_nodes") == 101, 30)
