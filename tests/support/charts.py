"""A real Helm, and what it renders held against the schemas of Kubernetes and of the Prometheus operator."""

import functools
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/proxywatch"
OLDEST, PLAIN, NATIVE, NEWEST = "1.25", "1.28", "1.29", "1.37"
POOL: dict[str, Any] = {
    "proxies": [{"name": "golden-crab", "secret": "crab"}, {"name": "free-salmon", "secret": "salmon"}]
}
EVERYTHING: dict[str, Any] = {
    "proxy": {
        "nameservers": ["10.64.0.1"],
        "usersSecret": "users",
        "wireguard": {"implementation": "userspace"},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
    },
    "sidecar": {
        "login": {"username": "probe", "secret": "probe"},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
    },
    "monitor": {"kind": "pod", "labels": {"release": "kps"}},
    "rules": {"enabled": True, "labels": {"release": "kps"}},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "VPN"}},
    "networkPolicy": {
        "enabled": True,
        "egress": [
            {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 51820, "protocol": "UDP"}]}
        ],
    },
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "net"},
    "tolerations": [{"key": "vpn", "operator": "Exists"}],
    "nodeSelector": {"vpn": "yes"},
    "priorityClassName": "high",
    "imagePullSecrets": [{"name": "registry"}],
}
MATRIX: dict[str, dict[str, Any]] = {
    "nothing": {},
    "pool": POOL,
    "everything": POOL | EVERYTHING,
    "service monitor": POOL | {"monitor": {"kind": "service"}},
    "native by force": POOL | {"sidecar": {"native": True}},
    "plain by force": POOL | {"sidecar": {"native": False}},
    "nobody may come": POOL | {"networkPolicy": {"enabled": True, "clients": [], "monitoring": []}},
    "no restarts": POOL | {"proxy": {"restartWhenTunnelIsDead": False}, "service": {"pool": False}},
    "by digest": POOL | {"sidecar": {"image": {"repository": "a/b", "digest": "sha256:" + "0" * 64}}},
}

Manifest = dict[str, Any]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def helm(major: str) -> str:
    """The program; the test is skipped where it cannot be had."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/need-helm", major], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no Helm {major}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout.strip()


def run(major: str, *arguments: str | Path) -> str:
    """What Helm prints; RuntimeError with its words when it refuses."""
    done = subprocess.run([helm(major), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr + done.stdout)
    return done.stdout


def render(
    values: dict[str, Any], *, major: str = "4", kubernetes: str = NEWEST, chart: Path = CHART
) -> list[Manifest]:
    """The manifests of a release `rel` in the namespace `vpn`."""
    text = _template(major, chart, kubernetes, _json(values))
    return [document for document in yaml.load_all(text, _Loader) if document]


@functools.cache
def _template(major: str, chart: Path, kubernetes: str, values: str) -> str:
    return run(
        major, "template", "rel", chart, "-n", "vpn", "--kube-version", kubernetes, "--set-json", values
    )


def _json(values: dict[str, Any]) -> str:
    return ",".join(f"{key}={json.dumps(value)}" for key, value in values.items()) or "podLabels={}"


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Those of a kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """The pods that Deployments make, with their labels as `metadata`."""
    return [deployment["spec"]["template"] for deployment in of_kind(manifests, "Deployment")]


def containers(pod: Manifest) -> dict[str, Manifest]:
    """All containers of a pod by name."""
    spec = pod["spec"]
    return {each["name"]: each for each in spec.get("initContainers", []) + spec["containers"]}


def validate(manifest: Manifest, kubernetes: str) -> None:
    """Hold a manifest against its schema, strictly: no key that the schema does not know.

    Raises:
        Exception: It does not follow it.
    """
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        _validate_operated(manifest)
    else:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)


def _validate_operated(manifest: Manifest) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudcoil.models.prometheus_operator import v1  # noqa: PLC0415 - takes a second

        model = getattr(v1, manifest["kind"]).model_validate(manifest)
        understood = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert understood["spec"] == manifest["spec"], "keys that the operator does not know"
