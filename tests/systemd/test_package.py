"""Debian's package: made by the script, installed, run and removed by apt in a container."""

import shutil
import subprocess
from pathlib import Path

import pytest

from proxywatch import __version__
from support import engine

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.root, pytest.mark.slow]
_DOCKERFILE = """\
FROM debian:bookworm-slim
COPY *.deb /tmp/
RUN apt-get update && apt-get install -y --no-install-recommends /tmp/*.deb systemd
RUN proxywatch --version && proxywatch describe config | grep -q '^## latency'
ENV PROXYWATCH_HTTP_LISTEN=unix:/tmp/http PROXYWATCH_HEALTH_LISTEN=unix:/tmp/health
RUN proxywatch run & sleep 8; proxywatch healthcheck && kill $!
RUN systemd-analyze verify /lib/systemd/system/proxywatch.service
RUN test -e /etc/proxywatch.yaml && systemd-tmpfiles --create && test -e /var/log/danted.log
RUN apt-get purge -y proxywatch && test ! -e /usr/lib/proxywatch && test ! -e /usr/bin/proxywatch
"""


def test_package_can_be_installed_run_and_removed(tmp_path: Path) -> None:
    """With Debian's own Python and nothing from elsewhere; it leaves nothing of the program behind."""
    python = "/usr/bin/python3"
    if shutil.which("dpkg-deb") is None or not Path(python).exists():
        pytest.skip("not a Debian")
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("Debian's Python has no pip")
    engine.prepare()
    done = subprocess.run([ROOT / "scripts/make-deb", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = tmp_path.glob("*.deb")
    assert package.name.startswith(f"proxywatch_{__version__}_")
    (tmp_path / "Dockerfile").write_text(_DOCKERFILE)
    engine.build(str(tmp_path / "Dockerfile"), "localhost/proxywatch-deb:dev", tmp_path)
