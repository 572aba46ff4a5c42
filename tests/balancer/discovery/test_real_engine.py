"""Containers of a real engine: podman's Docker-compatible service, with containers that share a network."""

import asyncio
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from proxywatch.balancer.discovery.docker import DockerSource
from proxywatch.balancer.discovery.sighting import Sighting
from proxywatch.clock import SystemClock
from proxywatch.errors import SourceError

NEEDS = ("podman", "runc", "iptables")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not all(map(shutil.which, NEEDS)), reason=f"needs {', '.join(NEEDS)}"),
]
_CONTAINERS = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = "{0}/networks"
"""
_STORAGE = '[storage]\ndriver = "overlay"\nrunroot = "{0}/run"\ngraphroot = "{0}/graph"\n'
_IMAGE = "localhost/sleep:1"


class Engine:
    """Podman with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "engine.sock"
        (directory / "storage.conf").write_text(_STORAGE.format(directory))
        (directory / "containers.conf").write_text(_CONTAINERS.format(directory))
        self.environ = os.environ | {
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
            "CONTAINERS_CONF": str(directory / "containers.conf"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def podman(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["podman", *arguments], env=self.environ, capture_output=True, text=True, check=False, timeout=60
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, name: str, *options: str) -> None:
        self.podman("run", "-d", "--name", name, "--no-healthcheck", *options, _IMAGE, "/bin/sleep", "600")

    def serve(self) -> None:
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["podman", "system", "service", "-t", "0", f"unix://{self.socket}"], env=self.environ,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


def _image(engine: Engine) -> None:
    """An image of /bin/sleep and what it is linked with."""
    linked = subprocess.run(["ldd", "/bin/sleep"], capture_output=True, text=True, check=True).stdout
    libraries = [word for line in linked.splitlines() for word in line.split() if word.startswith("/")]
    archive = engine.directory / "image.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        for path in ("/bin/sleep", *libraries):
            tar.add(path)
    engine.podman("import", str(archive), _IMAGE)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    running = Engine(tmp_path)
    _image(running)
    running.podman("network", "create", "--subnet", "10.213.7.0/24", "vpnnet")
    running.serve()
    try:
        yield running
    finally:
        running.podman("rm", "-af", "-t", "0", check=False)
        running.podman("network", "rm", "-f", "vpnnet", check=False)
        running.stop()
        shutil.rmtree(tmp_path / "graph", ignore_errors=True)


async def until(sees: Callable[[], Awaitable[Sighting]], so: Callable[[Sighting], object]) -> Sighting:
    async with asyncio.timeout(30):
        while True:
            sighting = await sees()
            if so(sighting):
                return sighting


async def test_containers_come_share_a_network_and_go(engine: Engine) -> None:
    """The address is the owner's; stopped is out at once; gone is gone; the engine may be away."""
    label = ("--label", "proxywatch.country=se", "--label", "proxywatch.sidecar_port=9090")
    engine.run("vpn", "--network", "vpnnet", "--ip", "10.213.7.5")
    engine.run("dante", "--network", "container:vpn", *label)
    source = DockerSource(str(engine.socket), "proxywatch.country", "", "127.0.0.1", SystemClock())
    async with aclosing(source.watch()) as watch:
        first = await anext(watch)
        assert not first.faults
        node = first.nodes["dante"]
        assert (node.upstream.host, node.sidecar) == ("10.213.7.5", "http://10.213.7.5:9090")
        engine.run("alone", "--network", "vpnnet", "--ip", "10.213.7.6", "--label", "proxywatch.country=de")
        second = await until(watch.__anext__, lambda it: "alone" in it.nodes)
        assert second.nodes["alone"].upstream.host == "10.213.7.6"
        engine.podman("stop", "-t", "0", "alone")
        stopped = await until(watch.__anext__, lambda it: "alone" not in it.nodes)
        assert "does not run" in stopped.leaving["alone"].reason
        engine.podman("stop", "-t", "0", "vpn")
        orphan = await until(watch.__anext__, lambda it: "dante" not in it.nodes)
        assert "network owner gone" in orphan.leaving["dante"].reason
        engine.podman("rm", "-f", "-t", "0", "alone")
        await until(watch.__anext__, lambda it: "alone" not in it.leaving)
        engine.stop()
        with pytest.raises((SourceError, StopAsyncIteration)):
            await until(watch.__anext__, lambda _: False)
    with pytest.raises(SourceError):
        await anext(source.watch())
    engine.serve()
    engine.podman("start", "vpn")
    async with aclosing(source.watch()) as watch:
        assert set((await anext(watch)).nodes) == {"dante"}
