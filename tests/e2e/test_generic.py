"""The whole exporter beside a proxy that is not Dante, and beside Dante without a log."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxywatch.exporter.collector.tcp import CLOSED
from testbed import proxies, socks
from testbed.danted import danted
from testbed.exporter import Exporter, exporter
from testbed.wired import ADDRESSES, Sides, wired

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root"),
]
OFF = {"enabled": False}
PORT, WEB, SIZE, SESSIONS = 1080, 8000, 50_000, 7
SITE = ADDRESSES[4][1]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Sides]:
    """A network of the proxy's own, in which this thread is, and a web server on the other side of a wire."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(bytes(SIZE))
    with wired() as sides, sides.proxy.entered():
        serve = ["-m", "http.server", "-b", SITE, "-d", str(tmp_path / "www"), str(WEB)]
        sides.outside.popen("/usr/bin/python3", *serve, stdout=-3, stderr=-3)
        while f":{WEB}" not in sides.outside.exec("ss", "-Hltn"):
            pass
        yield sides


def settings() -> dict[str, object]:
    """Probes of that web server, no VPN; nothing of Dante's is named."""
    return {
        "latency": {"targets": [f"http://{SITE}:{WEB}/"], "interval": "2s"},
        "speed": OFF,
        "exit": OFF,
        "wireguard": OFF,
        "interface": OFF,
        "tcp": {"enabled": True, "upstream": "all"},
    }


def transfer(running: Exporter) -> None:
    """Make the sessions, and wait until all of them are counted."""
    running.until("the proxy is seen", lambda: running.value(CLOSED.exposed) is not None)
    for _ in range(SESSIONS):
        assert len(socks.get(PORT, (SITE, WEB), "/file")) > SIZE
    running.until("both sides", lambda: set(_ended(running).values()) == {SESSIONS})


def _ended(running: Exporter) -> dict[str, float | None]:
    return {side: running.value(CLOSED.exposed, side=side) for side in ("client", "upstream")}


def check_figures(running: Exporter) -> None:
    """All of the sessions and none of the probes, which go on meanwhile."""
    rounds = running.value("proxy_probe_rounds_total", verdict="ok") or 0
    running.until(
        "more probes", lambda: (running.value("proxy_probe_rounds_total", verdict="ok") or 0) > rounds
    )
    assert running.value("proxy_tcp_connections_opened_total", side="client") == SESSIONS
    assert running.value("proxy_tcp_connections_opened_total", side="upstream") == SESSIONS
    sent = running.value("proxy_tcp_sent_bytes_total", side="client") or 0
    assert SIZE * SESSIONS < sent < SIZE * SESSIONS * 1.02
    assert (running.value("proxy_bytes_transferred_total") or 0) > SIZE * SESSIONS
    assert running.value("proxy_avg_connection_duration_seconds") is not None
    assert running.value("proxy_tcp_missed_total") == 0


def test_microsocks(bed: Sides, tmp_path: Path) -> None:
    """It is seen to be no Dante: nothing of Dante's is missed, and both sides are counted."""
    if lacking := proxies.missing("microsocks", "ss"):
        pytest.skip(f"{lacking} is not installed")
    with (
        proxies.microsocks(bed.proxy.prefix, "127.0.0.1", PORT),
        exporter(tmp_path, settings(), prefix=bed.proxy.prefix) as running,
    ):
        transfer(running)
        check_figures(running)
        assert running.value("proxywatch_collector_success", collector="sessions") is None
        assert running.value("proxywatch_collector_success", collector="children") is None
        assert running.value("proxy_active_connections") is not None
        assert running.ready() == 200
        checked = bed.proxy.exec(*_check(running.conf), timeout=60)
    assert "a proxy other than Dante: microsocks listens on port 1080" in checked
    assert "bytes transferred are from the kernel's account of connections" in checked
    assert "the kernel reports each connection that ends" in checked
    assert not {"danted.log", "children", "FAULT"} & set(checked.replace(":", " ").split())
    assert checked.endswith("all is well\n")


def test_dante_without_a_log(bed: Sides, tmp_path: Path) -> None:
    """It is Dante all the same: `check` tells what a log would give, and where figures are from meanwhile."""
    tmp_path.chmod(0o755)
    with (
        danted(
            tmp_path, port=PORT, log="error", logoutput="/dev/null", external="wire", prefix=bed.proxy.prefix
        ),
        exporter(tmp_path, settings(), prefix=bed.proxy.prefix) as running,
    ):
        transfer(running)
        check_figures(running)
        assert running.value("dante_child_processes") is not None
        checked = bed.proxy.exec(*_check(running.conf), timeout=60, check=False)
    assert "proxy.kind: generic" in checked
    assert "the mean duration from the kernel" in checked or "from the log or the kernel, later" in checked


def _check(conf: Path) -> list[str]:
    return [sys.executable, "-m", "proxywatch", "check", "-c", str(conf)]
