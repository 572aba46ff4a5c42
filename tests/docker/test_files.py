"""What can be said of the Docker files without building anything."""

import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxywatch.config import load
from proxywatch.exporter.collector import interface
from proxywatch.exporter.settings import SCHEMA

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*/Dockerfile"))
SCRIPTS = [
    DOCKER / name
    for name in ("proxy/proxy", "proxy/peers", "proxy/tunnel-alive", "stage/far", "stage/clients")
]


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{ROOT}/.venv/bin") or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}")
    return found


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_dockerfile_is_clean(file: Path) -> None:
    """Hadolint has nothing to say."""
    done = subprocess.run([_program("hadolint"), file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_script_is_clean(file: Path) -> None:
    """Shellcheck has nothing to say."""
    done = subprocess.run([_program("shellcheck"), file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def _compose() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return compose


def test_compose_file_mounts_what_is_there() -> None:
    """Each path of the repository that a service mounts or builds from exists, each volume is declared."""
    compose = _compose()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (DOCKER / source).exists() if source.startswith(".") else source in compose["volumes"]
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).exists()


def test_sidecar_image_is_nobodys_and_tells_of_its_health() -> None:
    """What an orchestrator reads from it; its packages are known by their hashes."""
    text = (DOCKER / "sidecar/Dockerfile").read_text()
    final = text[text.rindex("\nFROM ") :]
    assert "\nFROM scratch\n" in final
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["65532:65532"]
    assert re.findall(r"^EXPOSE (.*)$", final, re.MULTILINE) == ["9090 9999"]
    assert re.search(r'^HEALTHCHECK .*CMD \["/usr/bin/proxywatch", "healthcheck"\]$', final, re.MULTILINE)
    assert "--require-hashes" in text
    assert "--only-binary :all:" in text


def test_compose_file_serves_this_machine_alone() -> None:
    """Each port once, on loopback, where the file's head says that it is."""
    text = (DOCKER / "compose.yaml").read_text()
    ports = [port for service in _compose()["services"].values() for port in service.get("ports", [])]
    inner = {"1080": "1080", "9090": "9090", "9999": "9999", "9091": "9090", "3000": "3000"}
    assert sorted(ports) == sorted(f"127.0.0.1:{here}:{there}" for here, there in inner.items())
    assert all(f"localhost:{port}" in text for port in inner)


def test_compose_file_gives_the_proxy_three_capabilities() -> None:
    """And no service more than it needs; nobody is privileged."""
    services = _compose()["services"]
    assert {name: each["cap_add"] for name, each in services.items() if "cap_add" in each} == {
        "proxy": ["NET_ADMIN", "SETUID", "SETGID"],
        "far": ["NET_ADMIN"],
    }
    assert not [name for name, each in services.items() if "privileged" in each]
    assert services["proxy"]["cap_drop"] == ["ALL"]
    assert services["proxy"]["read_only"]


def test_prometheus_scrapes_the_network_that_the_sidecar_is_in() -> None:
    """The proxy's, as the sidecar has none of its own."""
    (job,) = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == f"{_compose()['services']['proxywatch']['network_mode'].removeprefix('service:')}:9090"


def test_compose_file_gives_the_sidecar_nothing() -> None:
    """It reads the log, shares the proxy's namespaces, and has no capability."""
    sidecar = _compose()["services"]["proxywatch"]
    assert sidecar["cap_drop"] == ["ALL"]
    assert "cap_add" not in sidecar
    assert sidecar["read_only"]
    assert sidecar["network_mode"] == sidecar["pid"] == "service:proxy"
    writable = [volume for volume in sidecar["volumes"] if not volume.endswith(":ro")]
    assert writable == ["state:/var/lib/proxywatch"]


def test_images_of_others_are_pinned() -> None:
    """By a version to read and a digest to trust: what worked yesterday works tomorrow."""
    others = [s["image"] for s in _compose()["services"].values() if "build" not in s]
    bases = [re.findall(r"^ARG DEBIAN=(.*)$", file.read_text(), re.MULTILINE) for file in DOCKERFILES]
    assert others
    assert all(len(base) == 1 for base in bases)
    for image in (*others, *(f"debian:{base}" for (base,) in bases)):
        assert re.search(r":[\w.-]+\d+[\w.-]*@sha256:[0-9a-f]{64}$", image), image
    for file in DOCKERFILES:
        begins = re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)
        assert set(begins) <= {"debian:${DEBIAN}", "scratch"}


def test_sidecar_starts_again_when_it_was_left_behind() -> None:
    """A proxy that was started anew has a network of its own; the old one's sidecar ends, and is started."""
    assert _compose()["services"]["proxywatch"]["restart"] == "on-failure"
    config = load((DOCKER / "proxywatch.yaml").read_text(), {}, SCHEMA)
    assert config[interface.Settings].exit_when_orphaned


@pytest.mark.parametrize(
    ("answer", "code"),
    [(b"HTTP/1.0 200 OK\r\n\r\n", 0), (b"HTTP/1.0 503 no\r\n\r\n", 1), (b"", 0), (b"garbage", 0), (None, 0)],
)
def test_only_a_tunnel_that_is_reported_dead_fails_the_proxys_probe(answer: bytes | None, code: int) -> None:
    """A sidecar that is not there, or says nothing that can be understood, is no reason for a restart."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if answer is None:
            server.close()
        command = [str(DOCKER / "proxy/tunnel-alive"), str(port)]
        with subprocess.Popen(command) as program:
            if answer is not None:
                with server.accept()[0] as connection:
                    assert connection.recv(100).startswith(b"GET /vpnz ")
                    connection.sendall(answer)
        assert program.returncode == code


def test_compose_settings_are_ones_that_the_exporter_accepts() -> None:
    """The file that the sidecar is given has no fault."""
    load((DOCKER / "proxywatch.yaml").read_text(), {}, SCHEMA)


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """Promtool agrees, with the rules where the compose file mounts them."""
    text = (DOCKER / "prometheus.yml").read_text()
    config = tmp_path / "prometheus.yml"
    config.write_text(text.replace("/etc/prometheus/rules", str(ROOT / "alerts")))
    done = subprocess.run(
        [_program("promtool"), "check", "config", config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_source_and_its_dashboards() -> None:
    """The provisioned source is the compose file's Prometheus, the dashboards' path the mounted one."""
    compose = _compose()["services"]
    (source,) = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/proxywatch.yaml").read_text())[
        "providers"
    ]
    mounted = [volume for volume in compose["grafana"]["volumes"] if volume.startswith("../dashboards/")]
    assert {volume.split(":")[1].rpartition("/")[0] for volume in mounted} == {provider["options"]["path"]}
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert any(f":{home}:" in volume for volume in mounted)
