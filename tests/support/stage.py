"""The compose file, brought up by podman-compose as far as this kind of machine goes.

What is changed on the way, and why: no published ports (others may have them); Podman 4 knows no
`pid: service:...`, so the container is named, and no health without systemd, so nobody waits for it (the
proxy waits by itself); names on the network may not resolve, so two services are told the proxy's address.
Prometheus is the one installed here in an image of its own, Grafana is left out. No image can be pulled by
its digest here: Debian's is the one that was made, and others keep their names alone.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from support import engine

_DOCKER = engine.ROOT / "docker"
_PROMETHEUS = "FROM debian:bookworm-slim\nCOPY prometheus /bin/prometheus\nWORKDIR /prometheus\n"
_PROMETHEUS += 'RUN chown 65534 /prometheus\nUSER 65534\nENTRYPOINT ["/bin/prometheus"]\n'
FIRST = ("far", "proxy", "proxywatch")


class Stage:
    """The running services."""

    def __init__(self, project: str) -> None:
        self.project = project

    def name(self, service: str) -> str:
        """A service's container."""
        return f"{self.project}_{service}_1"

    def exec(self, service: str, *command: str, check: bool = True) -> str:
        """A command in a service's container; what it said."""
        return engine.podman("exec", self.name(service), *command, check=check).strip()

    def ok(self, service: str, *command: str) -> bool:
        """Whether a command in a service's container succeeds."""
        try:
            self.exec(service, *command)
        except RuntimeError:
            return False
        return True

    def address(self, service: str) -> str:
        """A service's address on the network."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return engine.podman("inspect", self.name(service), "--format", form).strip()

    def fetch(self, service: str, url: str) -> str:
        """What the clients' curl gets from a service."""
        return self.exec("clients", "curl", "-s", "-m", "5", url.replace("SERVICE", self.address(service)))

    def metrics(self) -> dict[str, float]:
        """The exporter's series as they stand."""
        lines = self.fetch("proxy", "http://SERVICE:9090/metrics").splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {_without_proxy(name): float(value) for name, _, value in pairs}


def _without_proxy(series: str) -> str:
    """The series without the label that all of them have."""
    name, brace, labels = series.rstrip("}").partition("{")
    rest = ",".join(label for label in labels.split(",") if not label.startswith("proxy_name="))
    return f"{name}{brace}{rest}}}" if rest else name


def wait(what: str, ready: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until something real is so; TimeoutError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {seconds:g} s")
        time.sleep(0.3)


@contextmanager
def running() -> Iterator[Stage]:
    """All of it, until the block ends."""
    project = f"pw{os.getpid()}"
    stage = Stage(project)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix=".stage-", dir=_DOCKER) as file:

        def compose(*arguments: str) -> None:
            command = (f"{Path(sys.executable).parent}/podman-compose", "-f", file.name, "-p", project)
            engine.run(*command, *arguments, timeout=90, cwd=_DOCKER)

        try:
            _write(file.name, project, {})
            compose("up", "-d", "--no-build", *FIRST)
            hosts = {"extra_hosts": [f"proxy:{stage.address('proxy')}"]}
            _write(file.name, project, {"clients": hosts, "prometheus": hosts})
            compose("up", "-d", "--no-build", "--no-recreate", "clients", "prometheus")
            yield stage
        finally:
            compose("down", "-v", "-t", "1")


def _write(path: str, project: str, more: dict[str, dict[str, Any]]) -> None:
    compose = yaml.safe_load((_DOCKER / "compose.yaml").read_text())
    del compose["services"]["grafana"]
    for name, service in compose["services"].items():
        service.update(more.get(name, {}))
        service["image"] = _unpinned(service["image"])
        for key in ("ports", "depends_on", "healthcheck"):
            service.pop(key, None)
        if "pid" in service:
            service["pid"] = f"container:{project}_proxy_1"
    Path(path).write_text(yaml.safe_dump(compose))


def build() -> None:
    """Every image that the compose file builds, and the stand-in for Prometheus."""
    services = yaml.safe_load((_DOCKER / "compose.yaml").read_text())["services"]
    for image, file in {(s["image"], s["build"]["dockerfile"]) for s in services.values() if "build" in s}:
        engine.build(file, image, options=("--build-arg", "DEBIAN=bookworm-slim"))
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "Dockerfile").write_text(_PROMETHEUS)
        shutil.copy(shutil.which("prometheus") or "/usr/bin/prometheus", directory)
        image = _unpinned(services["prometheus"]["image"])
        engine.build(f"{directory}/Dockerfile", image, Path(directory))


def _unpinned(image: str) -> str:
    return image.partition("@")[0]
