"""What the chart gives to whom: rights, secrets, probes, ways in; the sidecar never hurts the proxy."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.charts import CHART, EVERYTHING, MATRIX, POOL, containers, of_kind, pods, render


def test_sidecar_has_no_privilege_and_the_proxy_three() -> None:
    """The sidecar is nobody with nothing; the proxy may make a device and drop its children's rights."""
    nothing = {
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for pod in pods(render(POOL | EVERYTHING)):
        sidecar, proxy = (containers(pod)[name]["securityContext"] for name in ("proxywatch", "proxy"))
        assert sidecar == nothing
        assert proxy == {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "SETGID", "SETUID"]},
        }
        shared = {"fsGroup": sidecar["runAsGroup"], "seccompProfile": nothing["seccompProfile"]}
        shared["supplementalGroups"] = [4]  # of the values
        assert pod["spec"]["securityContext"] == shared
        assert not pod["spec"]["automountServiceAccountToken"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys()
        assert "privileged" not in str(pod)


def test_secrets_and_the_log_are_no_more_open_than_needed() -> None:
    """Keys are the owner's to read; the sidecar writes its state and nothing else."""
    pod = pods(render(POOL | EVERYTHING))[0]
    modes = {
        volume["name"]: volume["secret"]["defaultMode"]
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    }
    assert modes == {"wireguard": 0o400, "users": 0o400, "proxywatch-login": 0o440}
    writable = {
        name: {mount["mountPath"] for mount in each["volumeMounts"] if not mount.get("readOnly")}
        for name, each in containers(pod).items()
    }
    assert writable == {
        "proxywatch": {"/var/lib/proxywatch"},
        "proxy": {
            "/var/log/dante",
            "/run/tunnel",
            "/tmp",
            "/run/dante",
            "/run/wireguard",
            "/scratch",  # of the values
        },
    }


def test_each_probe_asks_the_endpoint_that_is_its_own() -> None:
    """Liveness is the loop, readiness the proxy; nothing asks about the proxy's container unless chosen."""
    pod = pods(render(POOL))[0]
    asked = {
        (name, probe): each[probe]["httpGet"]
        for name, each in containers(pod).items()
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        if probe in each
    }
    assert asked == {
        ("proxywatch", "startupProbe"): {"path": "/livez", "port": 9999},
        ("proxywatch", "livenessProbe"): {"path": "/livez", "port": 9999},
        ("proxywatch", "readinessProbe"): {"path": "/readyz", "port": 9999},
    }


def test_a_dead_tunnel_restarts_the_proxy_only_where_chosen_and_a_dead_sidecar_never_does() -> None:
    """After three minutes, by a program that takes no answer for no verdict, and nothing waits for it."""
    proxy = containers(pods(render(MATRIX["restarts, no pool"]))[0])["proxy"]
    liveness = proxy["livenessProbe"]
    assert liveness["exec"]["command"] == ["/usr/local/bin/tunnel-alive"]
    assert liveness["failureThreshold"] * liveness["periodSeconds"] >= 180
    assert not {"startupProbe", "readinessProbe"} & set(proxy)


def test_dante_starts_without_its_sidecar() -> None:
    """Nothing that the sidecar needs holds up the pod: neither its image, its settings nor its password."""
    for pod in pods(render(MATRIX["everything"])):
        assert "initContainers" not in pod["spec"]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert volumes["proxywatch-settings"]["configMap"]["optional"]
        assert volumes["proxywatch-login"]["secret"]["optional"]
        assert volumes["proxywatch-state"]["emptyDir"]["medium"] == "Memory"  # never a reason to evict


def test_the_proxys_own_service_outlives_its_sidecar() -> None:
    """Without a running sidecar a pod is not ready: its own Service leads there all the same."""
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(render(POOL), "Service")}
    assert services["rel-proxywatch-golden-crab"]["publishNotReadyAddresses"]
    assert not services["rel-proxywatch"]["publishNotReadyAddresses"]
    strict = POOL | {"service": {"publishNotReady": False, "poolPublishNotReady": True}}
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(render(strict), "Service")}
    assert not services["rel-proxywatch-golden-crab"]["publishNotReadyAddresses"]
    assert services["rel-proxywatch"]["publishNotReadyAddresses"]


def test_a_change_of_settings_recreates_no_tunnel() -> None:
    """The pods stay as they are; the settings are mounted as a directory, which the kubelet renews."""
    changed = POOL | {"sidecar": {"settings": {"latency": {"interval": "20s"}}}}
    assert pods(render(POOL)) == pods(render(changed))
    before, after = (of_kind(render(values), "ConfigMap") for values in (POOL, changed))
    assert before != after
    for pod in pods(render(POOL)):
        sidecar = containers(pod)["proxywatch"]
        (mount,) = [each for each in sidecar["volumeMounts"] if each["name"] == "proxywatch-settings"]
        assert "subPath" not in mount
        assert sidecar["args"][:2] == ["run", "--watch"]
        assert sidecar["args"][-1].startswith(mount["mountPath"])


def test_another_version_of_the_chart_alone_recreates_no_tunnel(tmp_path: Path) -> None:
    """Its number is on the objects, not in the pods."""
    copy = tmp_path / "proxywatch"
    shutil.copytree(CHART, copy)
    about = copy / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^version: .*", "version: 9.9.9", about.read_text()))
    assert pods(render(POOL)) == pods(render(POOL, chart=copy))
    assert of_kind(render(POOL), "Service") != of_kind(render(POOL, chart=copy), "Service")


def test_openshift_gives_the_ids_itself() -> None:
    """No user or group is fixed but the proxy's root, which its capabilities need."""
    manifests = render(MATRIX["openshift"])
    (pod,) = pods(manifests)[:1]
    contexts = [pod["spec"]["securityContext"], containers(pod)["proxywatch"]["securityContext"]]
    (test,) = of_kind(manifests, "Pod")
    for context in (*contexts, test["spec"]["securityContext"]):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(context)
    assert contexts[1]["runAsNonRoot"]
    assert contexts[1]["capabilities"] == {"drop": ["ALL"]}


def test_a_security_context_can_be_changed_key_by_key() -> None:
    """What is given wins, null takes a key away, the rest stays."""
    own = {"sidecar": {"securityContext": {"runAsUser": 1000, "seccompProfile": None}}}
    context = containers(pods(render(POOL | own))[0])["proxywatch"]["securityContext"]
    assert context["runAsUser"] == 1000
    assert "seccompProfile" not in context
    assert context["readOnlyRootFilesystem"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"sidecar": {"settings": {"proxy": {"password": "hunter2"}}}}, "would be readable in a ConfigMap"),
        (
            {"sidecar": {"settings": {"proxy": {"url": "socks5h://u:hunter2@127.0.0.1:1080"}}}},
            "would be readable in a ConfigMap",
        ),
        (
            {"sidecar": {"extraEnv": [{"name": "PROXYWATCH_PROXY_PASSWORD", "value": "hunter2"}]}},
            "valueFrom.secretKeyRef",
        ),
    ],
)
@pytest.mark.parametrize("major", ["3", "4"])
def test_a_password_is_in_no_manifest(values: dict[str, Any], complaint: str, major: str) -> None:
    """It is refused with the way that there is instead, and is not repeated."""
    with pytest.raises(RuntimeError, match=complaint) as refusal:
        render(POOL | values, major=major)
    assert "hunter2" not in str(refusal.value)


def test_a_key_is_never_used_by_two_pods() -> None:
    """One pod at a time, also while it is replaced."""
    for deployment in of_kind(render(POOL), "Deployment"):
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_policy_lets_each_in_where_it_belongs() -> None:
    """Clients to SOCKS, monitoring to metrics and health, the chart's own test to health."""
    (policy,) = of_kind(render(MATRIX["everything"]), "NetworkPolicy")
    clients, monitoring, ours = policy["spec"]["ingress"]
    ports = [[port["port"] for port in each["ports"]] for each in (clients, monitoring, ours)]
    assert ports == [[1080], [9090, 9999], [9999]]
    assert clients["from"] == [{"podSelector": {}}]
    assert monitoring["from"] == [{"namespaceSelector": {}}]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    (closed,) = of_kind(render(MATRIX["nobody may come"]), "NetworkPolicy")
    assert len(closed["spec"]["ingress"]) == 1
    assert closed["spec"]["policyTypes"] == ["Ingress"]


def test_services_lead_to_the_ports_that_serve() -> None:
    """SOCKS to Dante, metrics and health to the sidecar, of a proxy that is not ready too."""
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(render(POOL), "Service")}
    metrics = services.pop("rel-proxywatch-metrics")
    assert [port["targetPort"] for port in metrics["ports"]] == [9090, 9999]
    assert metrics["publishNotReadyAddresses"]
    assert len(services) == 3
    for spec in services.values():
        assert [port["targetPort"] for port in spec["ports"]] == [1080]


def test_the_charts_own_test_asks_each_proxy_whether_it_is_well() -> None:
    """Readiness is the question, and nothing is given to whoever asks."""
    (pod,) = of_kind(render(POOL), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    for each in pod["spec"]["containers"]:
        assert each["args"] == ["healthcheck", "/readyz"]
        assert each["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
