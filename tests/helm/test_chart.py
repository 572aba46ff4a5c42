"""The chart, rendered by real Helm of both majors and held against the schemas of what consumes it."""

import re
import shutil
import tarfile
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxywatch.config import Config, load
from proxywatch.exporter.collector import exit as exit_
from proxywatch.exporter.collector import latency, sessions, wireguard
from proxywatch.exporter.settings import SCHEMA
from proxywatch.probe.proxy import Proxy
from support.charts import (
    CHART,
    MATRIX,
    NATIVE,
    NEWEST,
    OLDEST,
    PLAIN,
    POOL,
    ROOT,
    Manifest,
    containers,
    of_kind,
    pods,
    render,
    run,
    validate,
)

MAJORS = ("3", "4")


@pytest.mark.parametrize(
    ("name", "kubernetes", "major"),
    [
        *((name, NEWEST, "4") for name in MATRIX),
        *(("everything", kubernetes, "3") for kubernetes in (OLDEST, PLAIN, NATIVE)),
        *(
            pytest.param(name, kubernetes, major, marks=pytest.mark.slow)
            for name in MATRIX
            for kubernetes in (OLDEST, PLAIN, NATIVE, NEWEST)
            for major in MAJORS
            if name != "native by force" or kubernetes >= NATIVE  # whoever forces it has to know
        ),
    ],
)
def test_everything_rendered_follows_its_schema(name: str, kubernetes: str, major: str) -> None:
    """Kubernetes and the operator know every key, over a matrix of values, versions and Helms."""
    for manifest in render(MATRIX[name], major=major, kubernetes=kubernetes):
        validate(manifest, kubernetes)


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("name", ["nothing", "everything"])
def test_lint_is_strict(name: str, major: str, tmp_path: Path) -> None:
    """`helm lint --strict` has nothing to say."""
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(MATRIX[name]))
    assert "0 chart(s) failed" in run(major, "lint", "--strict", CHART, "-f", values)


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"proxys": []}, "proxys"),
        ({"proxies": [{"name": "golden-crab"}]}, "secret"),
        ({"proxies": [{"name": "Golden Crab", "secret": "a"}]}, "name"),
        ({"proxies": [{"name": "a", "secret": "a", "settings": {"latncy": {}}}]}, "latncy"),
        ({"proxies": [{"name": "metrics", "secret": "a"}]}, "name"),
        (
            {"proxies": [{"name": "a", "secret": "a"}, {"name": "a", "secret": "b"}]},
            "two of them are named a",
        ),
        ({"monitor": {"kind": "both"}}, "kind"),
        ({"rules": {"enabled": True, "runbookUrlPrefix": "wiki.example.org/runbooks"}}, "runbookUrlPrefix"),
        ({"rules": {"enabled": True, "runbookUrlPrefix": "https://a.example/runbooks"}}, "runbookUrlPrefix"),
        ({"rules": {"runbookURL": "https://a.example/"}}, "runbookURL"),
        ({"rules": {"enabled": True, "disabled": ["ProxySlow"]}}, "there is no alert named ProxySlow"),
        ({"sidecar": {"native": "maybe"}}, "native"),
        ({"proxy": {"logLimitMiB": "50"}}, "logLimitMiB"),
        (POOL | {"sidecar": {"login": {"username": "probe"}}}, "login.secret is needed"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], complaint: str, major: str) -> None:
    """A typo in the values is no silent default."""
    with pytest.raises(RuntimeError, match=complaint):
        render(values, major=major)


@pytest.mark.parametrize("major", MAJORS)
def test_sidecar_is_native_from_1_29_on_where_that_is_wanted(major: str) -> None:
    """An init container that goes on where Kubernetes knows it, one of the containers where not."""
    wanted = MATRIX["native where known"]
    for pod in pods(render(wanted, major=major, kubernetes=NATIVE)):
        assert [each["name"] for each in pod["spec"]["containers"]] == ["proxy"]
        assert pod["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    for pod in pods(render(wanted, major=major, kubernetes=PLAIN)):
        assert "initContainers" not in pod["spec"]
        assert "restartPolicy" not in containers(pod)["proxywatch"]


@pytest.mark.parametrize("name", MATRIX)
def test_names_lead_somewhere(name: str) -> None:
    """Every mount has its volume, every selector finds the pods, and the test finds its hosts."""
    manifests = render(MATRIX[name])
    made = pods(manifests)
    for pod in made:
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        mounts = {mount["name"] for each in containers(pod).values() for mount in each["volumeMounts"]}
        assert mounts == volumes
        assert pod["spec"]["shareProcessNamespace"]
    for selector in _selectors(manifests):
        assert any(selector.items() <= pod["metadata"]["labels"].items() for pod in made)
    hosts = {f"{pod['spec']['hostname']}.{pod['spec']['subdomain']}.vpn.svc:9999" for pod in made}
    asked = {
        each["env"][0]["value"] for test in of_kind(manifests, "Pod") for each in test["spec"]["containers"]
    }
    assert asked == hosts
    headless = {
        each["metadata"]["name"] for each in of_kind(manifests, "Service") if "clusterIP" in each["spec"]
    }
    assert {pod["spec"]["subdomain"] for pod in made} == headless


def _selectors(manifests: list[Manifest]) -> list[dict[str, str]]:
    services = [each["spec"]["selector"] for each in of_kind(manifests, "Service")]
    policies = [each["spec"]["podSelector"]["matchLabels"] for each in of_kind(manifests, "NetworkPolicy")]
    return (
        services
        + policies
        + [each["spec"]["selector"]["matchLabels"] for each in of_kind(manifests, "PodMonitor")]
    )


def test_monitor_finds_a_port_by_its_name() -> None:
    """The PodMonitor's port is one of the pod's, the ServiceMonitor's one of the headless Service's."""
    manifests = render(MATRIX["everything"])
    (monitor,) = of_kind(manifests, "PodMonitor")
    ports = {port["name"] for port in containers(pods(manifests)[0])["proxywatch"]["ports"]}
    assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= ports
    manifests = render(MATRIX["service monitor"])
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    found = [each for each in of_kind(manifests, "Service") if wanted <= each["metadata"]["labels"].items()]
    assert [each["metadata"]["name"] for each in found] == ["rel-proxywatch-metrics"]
    assert {each["port"] for each in monitor["spec"]["endpoints"]} <= {
        p["name"] for p in found[0]["spec"]["ports"]
    }


@pytest.mark.parametrize("name", [name for name in MATRIX if name != "nothing"])
def test_settings_are_ones_that_the_exporter_accepts(name: str) -> None:
    """What stands in the ConfigMap is read by the exporter itself, without a fault."""
    for config in of_kind(render(MATRIX[name]), "ConfigMap"):
        if "proxywatch.yaml" in config["data"]:
            load(config["data"]["proxywatch.yaml"], {}, SCHEMA)


def _settings(values: dict[str, Any], index: int = 0) -> Config:
    config = of_kind(render(values), "ConfigMap")[index]
    return load(config["data"]["proxywatch.yaml"], {}, SCHEMA)


def test_settings_of_one_proxy_win_over_those_of_all() -> None:
    """The chart's, then the sidecar's, then the proxy's own."""
    values = POOL | {"sidecar": {"settings": {"latency": {"interval": "20s", "timeout": "3s"}}}}
    values["proxies"] = [
        {**POOL["proxies"][0], "settings": {"latency": {"interval": "5s"}}},
        POOL["proxies"][1],
    ]
    first, second = _settings(values), _settings(values, 1)
    assert (float(first[latency.Settings].interval), float(first[latency.Settings].timeout)) == (5, 3)
    assert float(second[latency.Settings].interval) == 20
    assert first[Proxy].name == "golden-crab"
    assert first[wireguard.Settings].sockets == "/run/tunnel"


def test_a_pod_that_may_get_out_does_not_leak() -> None:
    """Dante alone goes by the tunnel: only where a policy locks the pod in is its own way out a leak."""
    assert not _settings(POOL)[exit_.Settings].leaks
    assert not _settings(POOL | {"networkPolicy": {"enabled": True}})[exit_.Settings].leaks
    confined = _settings(MATRIX["everything"])[exit_.Settings]
    assert confined.leaks
    assert confined.direct
    assert _settings(POOL | {"sidecar": {"settings": {"exit": {"leaks": True}}}})[exit_.Settings].leaks


def test_secret_of_a_login_is_mounted_where_the_settings_seek_it() -> None:
    """The password is a file of a Secret, in no manifest and no environment."""
    manifests = render(MATRIX["everything"])
    config = load(of_kind(manifests, "ConfigMap")[0]["data"]["proxywatch.yaml"], {}, SCHEMA)
    (mount,) = [
        each
        for each in containers(pods(manifests)[0])["proxywatch"]["volumeMounts"]
        if each["name"] == "proxywatch-login"
    ]
    assert config[Proxy].password_file == f"{mount['mountPath']}/password"
    assert config[Proxy].username == "probe"


@pytest.mark.parametrize("major", MAJORS)
def test_package_holds_the_rules_and_dashboards_themselves(major: str, tmp_path: Path) -> None:
    """Links lead out of the chart in the repository; the package must not have them."""
    run(major, "package", CHART, "-d", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        members = {member.name: member.isfile() for member in archive.getmembers()}
    for source in [*ROOT.glob("alerts/*.rules.yml"), *ROOT.glob("dashboards/*-dashboard.json")]:
        assert members.pop(f"proxywatch/files/{source.relative_to(ROOT)}")
    assert not [name for name in members if "/files/" in name], "more than what is deployed"


def test_rules_and_dashboards_arrive_unchanged() -> None:
    """What Prometheus and Grafana get is what the repository holds, templates of theirs included."""
    manifests = render(MATRIX["everything"])
    (rule,) = of_kind(manifests, "PrometheusRule")
    groups = [yaml.safe_load(path.read_text())["groups"] for path in sorted(ROOT.glob("alerts/*.rules.yml"))]
    assert rule["spec"]["groups"] == [group for file in groups for group in file]
    data = {key: text for each in of_kind(manifests, "ConfigMap") for key, text in each["data"].items()}
    for path in ROOT.glob("dashboards/*-dashboard.json"):
        assert data[path.name].strip() == path.read_text().strip()


@pytest.mark.parametrize("major", MAJORS)
def test_runbooks_are_where_the_operator_keeps_them(major: str) -> None:
    """Every alert leads to its page under the prefix, and nothing else of the rules changes."""
    prefix = "https://wiki.example.org/runbooks?page="
    plain, moved = (
        of_kind(render({"rules": {"enabled": True, "runbookUrlPrefix": each}}, major=major), "PrometheusRule")
        for each in ("", prefix)
    )
    home = yaml.safe_load((CHART / "Chart.yaml").read_text())["home"]
    for rendered, begin in ((plain, f"{home}/blob/main/docs/runbooks/"), (moved, prefix)):
        groups = rendered[0]["spec"]["groups"]
        rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
        assert rules
        assert {r["annotations"]["runbook_url"] for r in rules} == {f"{begin}{r['alert']}.md" for r in rules}
    assert str(moved).replace(prefix, f"{home}/blob/main/docs/runbooks/") == str(plain)


@pytest.mark.parametrize("major", MAJORS)
def test_single_alerts_can_be_left_out(major: str) -> None:
    """By name; all others stay, and so do the recording rules."""
    wanted = {"rules": {"enabled": True, "disabled": ["ProxySlowSpeed", "ProxyErrorBudgetBurn"]}}
    (rule,) = of_kind(render(wanted, major=major), "PrometheusRule")
    (whole,) = of_kind(render({"rules": {"enabled": True}}, major=major), "PrometheusRule")
    left, all_of_them = (
        [each.get("alert") or each["record"] for group in given["spec"]["groups"] for each in group["rules"]]
        for given in (rule, whole)
    )
    assert left == [name for name in all_of_them if name not in wanted["rules"]["disabled"]]  # type: ignore[operator]


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("kubernetes", [PLAIN, NEWEST])
def test_sidecar_joins_a_pod_of_somebody_elses_chart(kubernetes: str, major: str, tmp_path: Path) -> None:
    """Another chart that depends on this one puts the sidecar into its own pod by the named templates."""
    parent = tmp_path / "parent"
    shutil.copytree(ROOT / "tests/fixtures/helm/parent", parent)
    shutil.copytree(CHART, parent / "charts/proxywatch")
    manifests = render({}, major=major, kubernetes=kubernetes, chart=parent)
    for manifest in manifests:
        validate(manifest, kubernetes)
    (pod,) = of_kind(manifests, "Pod")
    assert {each["name"] for each in containers(pod)["proxywatch"]["volumeMounts"]} <= {
        each["name"] for each in pod["spec"]["volumes"]
    }
    (config,) = of_kind(manifests, "ConfigMap")
    mounted = [volume["configMap"] for volume in pod["spec"]["volumes"] if "configMap" in volume]
    assert [each["name"] for each in mounted] == [config["metadata"]["name"]]
    settings = load(config["data"]["proxywatch.yaml"], {}, SCHEMA)
    assert settings[sessions.Settings].log == "/var/log/dante/sockd.log"
    assert float(settings[latency.Settings].interval) == 15


def test_snippet_for_a_pod_by_hand_is_right() -> None:
    """The documented pod follows the schema and has the chart's own rights."""
    pod = yaml.safe_load((ROOT / "helm/sidecar-pod.yaml").read_text())
    validate(pod, OLDEST)
    (rendered, ours) = (containers(each)["proxywatch"] for each in (pods(render(POOL))[0], pod))
    assert ours["securityContext"] == rendered["securityContext"]
    environment = {each["name"]: each["value"] for each in ours["env"]}
    config = load("", environment, SCHEMA)
    assert config[sessions.Settings].log.startswith(ours["volumeMounts"][0]["mountPath"])


def test_notes_warn_of_proxies_that_are_open_to_the_world(tmp_path: Path) -> None:
    """A load balancer in front of a proxy that asks nobody to log in; not where it asks, or few may come."""

    def notes(values: dict[str, Any]) -> str:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(POOL | values))
        return run("4", "install", "rel", CHART, "-n", "vpn", "--dry-run=client", "-f", file)

    open_to_all: dict[str, Any] = {"service": {"type": "LoadBalancer"}}
    assert "ask nobody to log in" in notes(open_to_all)
    assert "ask nobody to log in" not in notes(open_to_all | {"proxy": {"usersSecret": "users"}})
    few = {"service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]}}
    assert "ask nobody to log in" not in notes(few)
    assert "ask nobody to log in" not in notes({})


def test_documented_policy_is_one_that_the_chart_takes() -> None:
    """The example of the page on installing, as it stands."""
    page = (ROOT / "docs/installing.md").read_text()
    example = re.search(r"(?m)^    networkPolicy:\n(?:    .*\n)+", page)
    assert example
    manifests = render(POOL | yaml.safe_load(textwrap.dedent(example[0])))
    (policy,) = of_kind(manifests, "NetworkPolicy")
    validate(policy, NEWEST)
    assert [len(rule["ports"]) for rule in policy["spec"]["egress"]] == [1, 2]


def test_notes_say_where_the_proxies_are(tmp_path: Path) -> None:
    """Whoever installs it is told the addresses, and what is missing."""
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(POOL))
    told = run("4", "install", "rel", CHART, "-n", "vpn", "--dry-run=client", "-f", values)
    notes = told.partition("NOTES:")[2]
    assert "socks5h://rel-proxywatch-golden-crab.vpn.svc:1080" in notes
    assert "monitor.kind" in notes
