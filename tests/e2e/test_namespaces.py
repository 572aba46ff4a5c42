"""An exporter that cannot see Dante's processes: a sidecar without a shared pid namespace."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.danted import danted
from testbed.exporter import exporter
from testbed.socks import dial

ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare"),
]


def test_the_active_connections_need_no_shared_pid_namespace(tmp_path: Path) -> None:
    """The sockets are counted all the same; the children are out of sight, and nothing is made up."""
    with danted(tmp_path) as proxy, ExitStack() as clients:
        settings = {
            "proxy": {"url": f"socks5h://127.0.0.1:{proxy.port}"},
            "latency": {"enabled": False},
            "speed": {"enabled": False},
            "exit": {"enabled": False},
            "wireguard": {"enabled": False},
            "sessions": {"log": str(proxy.log), "start": "beginning"},
            "sockets": {"port": proxy.port},
        }
        running = clients.enter_context(exporter(tmp_path, settings, prefix=ALONE))
        for _ in range(3):
            clients.enter_context(dial(proxy.port))
        running.until("three", lambda: running.value("proxy_active_connections") == 3)
        assert running.value("proxy_active_connections_by_source", source="sockets") == 3
        assert running.value("proxy_active_connections_by_source", source="processes") is None
        assert running.value("proxywatch_collector_success", collector="sockets") == 1
        assert running.value("proxywatch_collector_success", collector="children") == 0
        assert running.series("dante_child_processes") == {}
