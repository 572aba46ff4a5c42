"""What the chart gives to whom: rights, secrets, probes, ways in."""

from support.charts import EVERYTHING, MATRIX, POOL, containers, of_kind, pods, render


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
        "proxy": {"/var/log/dante", "/run/tunnel", "/tmp", "/run/dante", "/run/wireguard", "/dev/net/tun"},
    }


def test_each_probe_asks_the_endpoint_that_is_its_own() -> None:
    """Liveness is the loop, readiness the proxy; a dead tunnel restarts the VPN, not the sidecar."""
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
        ("proxy", "startupProbe"): {"path": "/vpnz", "port": 9999},
        ("proxy", "livenessProbe"): {"path": "/vpnz", "port": 9999},
    }
    liveness = containers(pod)["proxy"]["livenessProbe"]
    patience = liveness["failureThreshold"] * liveness["periodSeconds"]
    assert patience >= 180  # seconds; a sidecar that is restarted does not end the tunnel
    quiet = pods(render(MATRIX["no restarts"]))[0]
    assert not {"livenessProbe", "startupProbe"} & set(containers(quiet)["proxy"])


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
        assert "publishNotReadyAddresses" not in spec


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
