"""A real Helm, and what it renders held against the schemas of Kubernetes and of the Prometheus operator."""

import functools
import json
import re
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
    "global": {"imageRegistry": "mirror.example.org/vpn/", "imagePullSecrets": [{"name": "mirror"}]},
    "commonLabels": {"team": "net", "cost-centre": "0x1f"},
    "commonAnnotations": {"owner": "no"},
    "proxy": {
        "nameservers": ["10.64.0.1"],
        "usersSecret": "users",
        "wireguard": {"implementation": "userspace"},
        "restartWhenTunnelIsDead": True,
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    },
    "sidecar": {
        "login": {"username": "probe", "secret": "probe"},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/scratch", "readOnly": True}],
        "settings": {"latency": {"interval": "20s"}, "sockets": {"port": 1080}, "speed": {"bytes": 2000000}},
    },
    "monitor": {
        "kind": "pod",
        "namespace": "monitoring",
        "labels": {"release": "kps"},
        "annotations": {"a": "b"},
        "scheme": "https",
        "tlsConfig": {"insecureSkipVerify": True},
        "basicAuth": {
            "username": {"name": "scrape", "key": "user"},
            "password": {"name": "scrape", "key": "password"},
        },
        "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
        "metricRelabelings": [{"action": "drop", "regex": "python_.*", "sourceLabels": ["__name__"]}],
    },
    "rules": {"enabled": True, "namespace": "monitoring", "labels": {"release": "kps"}},
    "dashboards": {"enabled": True, "namespace": "grafana", "annotations": {"grafana_folder": "VPN"}},
    "networkPolicy": {
        "enabled": True,
        "egress": [
            {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [{"port": 51820, "protocol": "UDP"}]}
        ],
    },
    "service": {
        "type": "LoadBalancer",
        "labels": {"lb": "yes"},
        "annotations": {"a": "b"},
        "loadBalancerClass": "example.org/internal",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "ClientIP",
        "ipFamilyPolicy": "PreferDualStack",
        "ipFamilies": ["IPv4", "IPv6"],
        "poolNodePort": 31080,
    },
    "serviceAccount": {"create": True, "annotations": {"a": "b"}},
    "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
    "podSecurityContext": {"supplementalGroups": [4]},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "net"},
    "tolerations": [{"key": "vpn", "operator": "Exists"}],
    "nodeSelector": {"vpn": "yes"},
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "imagePullSecrets": [{"name": "registry"}],
}
OWN: dict[str, Any] = {
    "name": "golden-crab",
    "secret": "crab",
    "settings": {"exit": {"expect": {"country": "se"}}},
    "resources": {"limits": {"memory": "1Gi"}},
    "sidecarResources": {"limits": {"memory": "96Mi"}},
    "nodeSelector": {"zone": "a"},
    "tolerations": [{"key": "own", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "podLabels": {"own": "true"},
    "podAnnotations": {"own": "1e3"},
    "service": {"type": "NodePort", "nodePort": 31081, "port": 1081, "annotations": {"own": "null"}},
}
MATRIX: dict[str, dict[str, Any]] = {
    "nothing": {},
    "pool": POOL,
    "everything": POOL | EVERYTHING,
    "service monitor": POOL | {"monitor": {"kind": "service"}},
    "each its own": {"proxies": [OWN, POOL["proxies"][1]]},
    "openshift": POOL | {"openshift": True},
    "native where known": POOL | {"sidecar": {"native": "auto"}},
    "native by force": POOL | {"sidecar": {"native": True}},
    "nobody may come": POOL | {"networkPolicy": {"enabled": True, "clients": [], "monitoring": []}},
    "restarts, no pool": POOL | {"proxy": {"restartWhenTunnelIsDead": True}, "service": {"pool": False}},
    "by digest": POOL | {"sidecar": {"image": {"repository": "a/b", "digest": "sha256:" + "0" * 64}}},
}

Manifest = dict[str, Any]
_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?")


class _Loader(_Parser):  # type: ignore[misc] # one of two
    """What Python's YAML takes for another type, and what Go's does besides."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^0o[0-7]+$"), ["0"])


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
    values: dict[str, Any],
    *,
    major: str = "4",
    kubernetes: str = NEWEST,
    chart: Path = CHART,
    release: str = "rel",
    namespace: str = "vpn",
) -> list[Manifest]:
    """The manifests of a release."""
    where = ("-n", namespace, "--kube-version", kubernetes)
    text = _template(major, chart, _json(values), release, where)
    return [document for document in yaml.load_all(text, _Loader) if document]


@functools.cache
def _template(major: str, chart: Path, values: str, release: str, where: tuple[str, ...]) -> str:
    return run(major, "template", release, chart, *where, "--set-json", values)


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
    _validate_metadata(manifest["kind"], manifest["metadata"])
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        _validate_operated(manifest)
    else:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)
    if manifest["kind"] == "Deployment":
        pod = manifest["spec"]["template"]
        _validate_metadata("template", pod["metadata"] | {"name": manifest["metadata"]["name"]})
        assert _LABEL.fullmatch(pod["spec"]["hostname"])
        assert _SERVICE.fullmatch(pod["spec"]["subdomain"])


def _validate_metadata(kind: str, metadata: Manifest) -> None:
    """Names and labels as the API server takes them, which the schemas do not say."""
    assert (_SERVICE if kind == "Service" else _SUBDOMAIN).fullmatch(metadata["name"]), metadata["name"]
    for value in metadata.get("labels", {}).values():
        assert _LABEL_VALUE.fullmatch(value), value
    assert all(isinstance(value, str) for value in metadata.get("annotations", {}).values())


def _validate_operated(manifest: Manifest) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudcoil.models.prometheus_operator import v1  # noqa: PLC0415 - takes a second

        model = getattr(v1, manifest["kind"]).model_validate(manifest)
        understood = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    assert understood["spec"] == manifest["spec"], "keys that the operator does not know"
