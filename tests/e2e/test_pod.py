"""The exporter in a whole pod: real WireGuard, real Dante, a client and a far end."""

import base64
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.contract import PART_A
from testbed.exporter import Exporter, exporter
from testbed.pod import WEB, Pod, missing

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing()), reason=f"a pod needs {', '.join(missing())}"),
]


@contextmanager
def watched_pod(directory: Path, **more: object) -> Iterator[tuple[Pod, Exporter]]:
    """A pod with the exporter in it, which is asked from within."""
    with Pod() as pod, pod.entered("pod"):
        settings: dict[str, object] = {
            "proxy": {"name": "golden-crab"},
            "latency": {
                "interval": "2s",
                "timeout": "1s",
                "targets": [f"http://{WEB}/get", "http://web.test/get"],
            },
            "speed": {"interval": "10s", "timeout": "5s", "url": f"http://{WEB}/bytes/{{bytes}}"},
            "sessions": {"log": str(pod.log), "start": "beginning"},
            "exit": {"enabled": False},
            "scrape": {"interval": "1s"},
        }
        enter = ("nsenter", "-t", str(pod.pid("pod")), "-n", "-m", "-p", "--")
        with exporter(directory, settings | more, prefix=enter) as running:
            yield pod, running


def test_a_proxy_at_defaults_has_fewer_than_350_series(tmp_path: Path) -> None:
    """Three targets, one of them over TLS, everything on; a scrape of a large pool stays affordable."""
    targets = [f"http://{WEB}/get", "http://web.test/get", f"https://{WEB}/get"]
    more = {
        "latency": {"interval": "2s", "timeout": "1s", "targets": targets},
        "exit": {"interval": "2s", "timeout": "1s", "urls": [f"http://{WEB}/get"]},
    }
    with watched_pod(tmp_path, **more) as (pod, running):
        pod.get("/bytes/1000")
        running.until("everything", lambda: all(running.value(name) is not None for name in PART_A), 40)
        running.until("an exit", lambda: running.value("proxy_exit_changes_total") is not None, 20)
        lines = [line for line in running.get("/metrics").body.splitlines() if line and line[0] != "#"]
    assert 250 < len(lines) < 350


def test_every_series_of_part_a_and_a_cut_that_heals(tmp_path: Path) -> None:
    """With WireGuard nothing is left untold; a dead tunnel is seen within 30 s, and its return."""
    with watched_pod(tmp_path) as (pod, running):
        pod.get("/bytes/1000")
        running.until("everything", lambda: all(running.value(name) is not None for name in PART_A), 40)
        assert running.value("vpn_connection_status") == 1
        assert running.ready() == 200
        assert running.get("/vpnz", base=running.health).status == 200
        moved = running.value("proxy_bytes_transferred_total") or 0
        pod.cut()
        start = time.monotonic()
        running.until("the cut", lambda: running.value("vpn_connection_status") == 0, 30)
        print(f"a cut under probes was seen after {time.monotonic() - start:.1f} s")
        assert running.ready() == 503
        assert "dead" in running.get("/vpnz", base=running.health).body
        assert running.value("proxy_latency_ms") is None
        pod.heal()
        running.until(
            "the healing", lambda: running.value("vpn_connection_status") == 1 and running.ready() == 200, 40
        )
        assert (running.value("proxy_bytes_transferred_total") or 0) > moved


def test_a_tunnel_that_is_taken_away_and_made_anew(tmp_path: Path) -> None:
    """Absent, told in words, and back; the bytes that were counted stay counted."""
    with watched_pod(tmp_path) as (pod, running):
        running.until(
            "up", lambda: running.value("vpn_connection_status") == 1 and running.value("proxy_latency_ms")
        )
        before = running.value("proxy_bytes_transferred_total") or 0
        pod.remove_wg()
        running.until("absent", lambda: running.value("vpn_tunnel_state", state="absent") == 1)
        assert running.value("proxywatch_collector_success", collector="interface") == 0
        assert (running.value("proxy_bytes_transferred_total") or 0) >= before
        pod.create_wg()
        running.until(
            "up again",
            lambda: running.value("vpn_connection_status") == 1 and running.value("proxy_latency_ms"),
            40,
        )
        running.until("counting on", lambda: (running.value("proxy_bytes_transferred_total") or 0) > before)


def test_no_key_of_the_tunnel_is_told_to_anybody(tmp_path: Path) -> None:
    """Not in metrics, pages, log or `check`."""
    with watched_pod(tmp_path, log={"level": "debug"}) as (pod, running):
        running.until("up", lambda: running.value("vpn_connection_status") == 1)
        told = [running.get(path).body for path in ("/metrics", "/", "/api/v1/status", "/api/v1/history")]
        told.append(running.get("/healthz?verbose", base=running.health).body)
        doctor = (sys.executable, "-m", "proxywatch", "check", "-c", str(running.conf))
        told.append(pod.exec("pod", *doctor, timeout=60, check=False))
        told.append(running.log.read_text())
        assert "peer" in told[-2]
        secrets = [key.read_text().strip() for key in pod.keys]
        assert [len(secret) for secret in secrets] == [44, 44, 44]
        for secret in secrets:
            forms = (secret, base64.b64decode(secret).hex())
            assert [form for form in forms for text in told if form in text] == []
