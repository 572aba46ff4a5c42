"""`proxywatch healthcheck`: the health check of images without a shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.exporter import exporter

OFF = {
    name: {"enabled": False} for name in ("latency", "speed", "exit", "wireguard", "interface", "sessions")
}


def healthcheck(*arguments: str, listen: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "proxywatch", "healthcheck", *arguments]
    environment = os.environ | {"PROXYWATCH_HEALTH_LISTEN": listen}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=30)


def test_it_says_what_the_health_face_says(tmp_path: Path) -> None:
    """Alive is 0; a path that answers 503 is 1 with its reasons."""
    with exporter(tmp_path, OFF | {"wireguard": {"name": "absent9"}}) as running:
        listen = running.health.removeprefix("http://")
        alive = healthcheck(listen=listen)
        tunnel = healthcheck("/vpnz", listen=listen)
    assert alive.returncode == 0
    assert tunnel.returncode == 1
    assert "absent9" in tunnel.stdout


@pytest.mark.parametrize("listen", ["127.0.0.1:1", ":1", "unix:/nonexistent/health.sock"])
def test_nobody_there_is_unhealthy(listen: str) -> None:
    """No exporter, on TCP or a unix socket: 1, and in words."""
    done = healthcheck(listen=listen)
    assert done.returncode == 1
    assert done.stdout.startswith(f"no answer on {listen}")


def test_settings_with_faults_are_told_as_such() -> None:
    """2, as for every command."""
    done = healthcheck(listen="nowhere")
    assert done.returncode == 2
    assert "PROXYWATCH_HEALTH_LISTEN" in done.stderr


def test_a_fault_of_another_section_is_nothing_to_it(tmp_path: Path) -> None:
    """The exporter runs on with its old settings, and that is what is asked."""
    settings = tmp_path / "proxywatch.yaml"
    settings.write_text("latancy: {}\nhealth: {listen: ':1'}\n")
    done = subprocess.run(
        [sys.executable, "-m", "proxywatch", "healthcheck", "-c", settings],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split(":")[0]) == (1, "no answer on ")


def test_it_imports_little() -> None:
    """A container's engine runs it every few seconds: no event loop, no Prometheus, no curl."""
    code = (
        "import sys; from proxywatch.cli import main\n"
        "try: main(['healthcheck'])\n"
        "except SystemExit: print(*sys.modules, sep='\\n')"
    )
    environment = os.environ | {"PROXYWATCH_HEALTH_LISTEN": ":1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert "proxywatch.health.client" in done.stdout.splitlines()
    assert not {"asyncio", "uvloop", "prometheus_client", "pycurl"} & set(done.stdout.splitlines())
