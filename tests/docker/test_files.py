"""What can be said of the Docker files without building anything."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxywatch.config import load
from proxywatch.daemon import SECTIONS

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*/Dockerfile"))
SCRIPTS = [DOCKER / name for name in ("proxy/proxy", "proxy/peers", "stage/far", "stage/clients")]


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


def test_compose_file_gives_the_sidecar_nothing() -> None:
    """It reads the log, shares the proxy's namespaces, and has no capability."""
    sidecar = _compose()["services"]["proxywatch"]
    assert sidecar["cap_drop"] == ["ALL"]
    assert "cap_add" not in sidecar
    assert sidecar["read_only"]
    assert sidecar["network_mode"] == sidecar["pid"] == "service:proxy"
    assert "log:/var/log/dante:ro" in sidecar["volumes"]


def test_images_of_others_are_of_a_version() -> None:
    """A stage that worked yesterday works tomorrow."""
    others = [s["image"] for s in _compose()["services"].values() if "build" not in s]
    assert others
    for image in others:
        assert re.search(r":v?\d+\.\d+\.\d+$", image), image


def test_compose_settings_are_ones_that_the_exporter_accepts() -> None:
    """The file that the sidecar is given has no fault."""
    load((DOCKER / "proxywatch.yaml").read_text(), {}, SECTIONS)


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
