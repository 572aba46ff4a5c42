"""What the values change: images, places, Services, monitors; for the pool, and for one proxy of it."""

from typing import Any

import pytest

from support.charts import EVERYTHING, MATRIX, OWN, POOL, Manifest, containers, of_kind, pods, render

HOME_LABELS = {"app.kubernetes.io/component": "proxy"}


def own() -> tuple[Manifest, Manifest]:
    """The pod of a proxy with values of its own, and that of one without, in a pool that has some too."""
    first, second = pods(render(EVERYTHING | MATRIX["each its own"]))
    return first, second


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "proxywatch:0.1.0"),
        ({"sidecar": {"image": {"registry": "a.example"}}}, "a.example/proxywatch:0.1.0"),
        ({"global": {"imageRegistry": "b.example:5000/vpn/"}}, "b.example:5000/vpn/proxywatch:0.1.0"),
        (
            {"global": {"imageRegistry": "b.example"}, "sidecar": {"image": {"registry": "a.example"}}},
            "b.example/proxywatch:0.1.0",
        ),
        ({"sidecar": {"image": {"tag": "1e3"}}}, "proxywatch:1e3"),
        (
            {
                "global": {"imageRegistry": "b.example"},
                "sidecar": {"image": {"digest": "sha256:" + "a" * 64}},
            },
            "b.example/proxywatch@sha256:" + "a" * 64,
        ),
    ],
)
def test_an_image_comes_from_where_it_is_said(values: dict[str, Any], expected: str) -> None:
    """A registry of its own, or that of all of them; by tag or by digest; in the chart's own test too."""
    manifests = render(POOL | values)
    assert containers(pods(manifests)[0])["proxywatch"]["image"] == expected
    (test,) = of_kind(manifests, "Pod")
    assert {each["image"] for each in test["spec"]["containers"]} == {expected}


def test_one_proxy_may_differ_from_the_pool() -> None:
    """Its own values take the place of the pool's, or are added where there can be several."""
    first, second = own()
    assert containers(first)["proxy"]["resources"] == OWN["resources"]
    assert containers(first)["proxywatch"]["resources"] == OWN["sidecarResources"]
    assert containers(second)["proxy"]["resources"] != OWN["resources"]
    for key in ("nodeSelector", "tolerations", "affinity"):
        assert first["spec"][key] == OWN[key]
        assert second["spec"][key] == EVERYTHING[key]
    assert first["metadata"]["labels"].items() >= {"own": "true", "team": "net"}.items()
    assert first["metadata"]["annotations"].items() >= {"own": "1e3", "a": "b", "owner": "no"}.items()
    assert "own" not in second["metadata"]["labels"]


def test_one_proxys_service_may_differ_from_the_pools() -> None:
    """Type, ports, annotations."""
    services = {
        each["metadata"]["name"]: each
        for each in of_kind(render(EVERYTHING | MATRIX["each its own"]), "Service")
    }
    first = services["rel-proxywatch-golden-crab"]
    assert first["spec"]["type"] == "NodePort"
    assert [(port["port"], port["nodePort"]) for port in first["spec"]["ports"]] == [(1081, 31081)]
    assert first["metadata"]["annotations"]["own"] == "null"
    other = services["rel-proxywatch-free-salmon"]["spec"]
    assert other["type"] == "LoadBalancer"
    assert other["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert services["rel-proxywatch"]["spec"]["ports"][0]["nodePort"] == 31080


def test_common_labels_and_annotations_are_on_everything() -> None:
    """And change no selector, which could not be changed later."""
    manifests = render(MATRIX["everything"])
    for manifest in manifests:
        assert manifest["metadata"]["labels"].items() >= EVERYTHING["commonLabels"].items()
        assert manifest["metadata"]["annotations"]["owner"] == "no"
    for deployment in of_kind(manifests, "Deployment"):
        assert "team" not in deployment["spec"]["selector"]["matchLabels"]
    impostor = POOL | {"commonLabels": {"app.kubernetes.io/instance": "other", "proxywatch/proxy": "x"}}
    for deployment in of_kind(render(impostor), "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_pool_is_spread_and_is_not_drained_at_once() -> None:
    """Over the pool's pods alone; a proxy that does not work holds up no drain."""
    manifests = render(MATRIX["everything"])
    (budget,) = of_kind(manifests, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == "50%"
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    for pod in pods(manifests):
        (spread,) = pod["spec"]["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert spread["labelSelector"] == budget["spec"]["selector"]
    (number,) = of_kind(render(POOL | {"podDisruptionBudget": {"enabled": True}}), "PodDisruptionBudget")
    assert number["spec"]["maxUnavailable"] == 1


def test_pods_have_the_account_and_the_pull_secrets_that_were_named() -> None:
    """And no token."""
    manifests = render(MATRIX["everything"])
    (account,) = of_kind(manifests, "ServiceAccount")
    (test,) = of_kind(manifests, "Pod")
    for spec in (*(pod["spec"] for pod in pods(manifests)), test["spec"]):
        assert spec["serviceAccountName"] == account["metadata"]["name"]
        assert not spec["automountServiceAccountToken"]
        assert spec["imagePullSecrets"] == [{"name": "mirror"}, {"name": "registry"}]
    assert pods(render(POOL))[0]["spec"]["serviceAccountName"] == "default"


@pytest.mark.parametrize("kind", ["pod", "service"])
def test_a_monitor_elsewhere_looks_into_the_releases_namespace(kind: str) -> None:
    """With all that Prometheus needs to get in."""
    monitor = EVERYTHING["monitor"] | {"kind": kind}
    manifests = render(POOL | {"monitor": monitor})
    (found,) = of_kind(manifests, "PodMonitor" if kind == "pod" else "ServiceMonitor")
    assert found["metadata"]["namespace"] == "monitoring"
    assert found["spec"]["namespaceSelector"] == {"matchNames": ["vpn"]}
    (endpoint,) = found["spec"]["podMetricsEndpoints" if kind == "pod" else "endpoints"]
    for key in ("scheme", "tlsConfig", "basicAuth", "relabelings", "metricRelabelings"):
        assert endpoint[key] == monitor[key]
    here = render(POOL | {"monitor": {"kind": kind}})
    (found,) = of_kind(here, "PodMonitor" if kind == "pod" else "ServiceMonitor")
    assert "namespaceSelector" not in found["spec"]


def test_settings_of_the_network_namespace_are_the_charts() -> None:
    """A sidecar that is left behind in a namespace that is gone ends, and the kubelet starts it anew."""
    for config in of_kind(render(POOL), "ConfigMap"):
        assert "exit_when_orphaned: true" in config["data"]["proxywatch.yaml"]
