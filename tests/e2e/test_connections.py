"""Connections against a real exporter: more than there are open files, and the clients of the field."""

import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from testbed.danted import free_port
from testbed.exporter import Exporter, exporter

SETTINGS: dict[str, object] = {
    name: {"enabled": False}
    for name in ("latency", "speed", "exit", "wireguard", "sessions", "sockets", "children")
} | {"health": {"listen": "127.0.0.1:0", "require": []}, "interface": {"name": "lo"}}


@contextmanager
def limited(directory: Path, soft: int, hard: int) -> Iterator[Exporter]:
    """An exporter with this limit of open files."""
    with exporter(directory, SETTINGS, prefix=["prlimit", f"--nofile={soft}:{hard}"]) as running:
        yield running


@contextmanager
def idle(url: str, count: int) -> Iterator[list[socket.socket]]:
    """So many connections without a word."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 200:
        pytest.skip(f"needs {count + 200} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 0))
    connections = [socket.create_connection(address, 10) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def test_idle_connections_leave_the_health_port_its_share(tmp_path: Path) -> None:
    """3,000 on the metrics port, with 1,024 open files: the health port answers, and so do scrapes."""
    with limited(tmp_path, 1024, 1024) as running, idle(running.http, 3000):
        for path in ("/livez", "/readyz", "/livez"):
            assert running.get(path, base=running.health).status == 200
        assert running.get("/metrics").status == 200
        with idle(running.health, 1000):
            assert running.get("/livez", base=running.health).status == 200
            assert running.get("/metrics").status == 200
        assert "fewer connections than the settings allow" in running.log.read_text()


def test_the_limit_of_open_files_is_raised(tmp_path: Path) -> None:
    """To the hard one, without a word from anybody."""
    with limited(tmp_path, 256, 4096) as running, idle(running.http, 1000) as connections:
        assert running.get("/metrics").status == 200
        limits = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
        assert limits == (4096, 4096)
        connections[0].setblocking(False)  # noqa: FBT003
        with pytest.raises(BlockingIOError):
            connections[0].recv(1)


def test_no_descriptors_are_left(tmp_path: Path) -> None:
    """Taken away while it runs: connections are lost, the daemon is not."""
    with limited(tmp_path, 1024, 1024) as running:
        open_now = len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (open_now + 5, 1024))
        with idle(running.http, 100), idle(running.health, 100):
            pass
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
        running.until("it answers again", lambda: _answers(running))
        assert running.get("/metrics").status == 200


def _answers(running: Exporter) -> bool:
    try:
        return running.get("/livez", base=running.health).status == 200
    except OSError:
        return False


def test_ab_with_keep_alive(tmp_path: Path) -> None:
    """It speaks HTTP/1.0 and waits for ever if it is not told that the connection is kept."""
    if shutil.which("ab") is None:
        pytest.skip("ab is not installed")
    with exporter(tmp_path, SETTINGS) as running:
        command = ["ab", "-q", "-k", "-n", "50", "-c", "2", "-s", "5", f"{running.http}/-/healthy"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        assert "Keep-Alive requests:    50" in done.stdout
        assert "Failed requests:        0" in done.stdout


@pytest.mark.parametrize("port", ["http", "health"])
def test_a_plain_check_of_haproxy(tmp_path: Path, port: str) -> None:
    """`option httpchk` without more sends `OPTIONS / HTTP/1.0`."""
    program = shutil.which("haproxy") or shutil.which("/usr/sbin/haproxy")
    if program is None:
        pytest.skip("haproxy is not installed")
    with exporter(tmp_path, SETTINGS) as running:
        conf, front, stats = tmp_path / "haproxy.cfg", free_port(), tmp_path / "stats"
        conf.write_text(
            f"global\n  stats socket {stats}\n"
            "defaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n"
            f"listen x\n  bind 127.0.0.1:{front}\n  option httpchk\n"
            f"  server it {urlsplit(getattr(running, port)).netloc} check inter 50ms\n"
        )
        process = subprocess.Popen([program, "-q", "-db", "-f", str(conf)], stdout=subprocess.DEVNULL)
        try:
            running.until("checked", lambda: "L7OK" in _column(stats), 10)
        finally:
            process.kill()
            process.wait()


def _column(stats: Path) -> str:
    """What HAProxy tells about its servers."""
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        try:
            sock.connect(str(stats))
        except OSError:
            return ""
        sock.sendall(b"show stat\n")
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer.decode()
