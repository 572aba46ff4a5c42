"""The chart installed, upgraded and removed by real Helm on a real API server."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.apiserver import Apiserver, apiserver
from support.charts import CHART, POOL, run

pytestmark = pytest.mark.slow
NAMESPACE = "/namespaces/vpn"
EVERYTHING = {
    "proxy": {
        "nameservers": ["10.64.0.1"],
        "usersSecret": "users",
        "wireguard": {"implementation": "userspace"},
    },
    "sidecar": {
        "native": False,
        "login": {"username": "probe", "secret": "probe"},
    },  # 1.20 has no native ones
    "networkPolicy": {"enabled": True, "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]}]},
    "dashboards": {"enabled": True},
    "tolerations": [{"key": "vpn", "operator": "Exists"}],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apiserver]:
    """One for all."""
    with apiserver(tmp_path_factory.mktemp("apiserver")) as running:
        yield running


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The chart, willing to be on a server as old as this one."""
    copy = tmp_path / "proxywatch"
    shutil.copytree(CHART, copy)
    about = copy / "Chart.yaml"
    about.write_text(re.sub(r"kubeVersion: .*", 'kubeVersion: ">=1.20.0-0"', about.read_text()))
    return copy


@pytest.mark.parametrize(("major", "how"), [("3", ()), ("4", ("--server-side=false",))])
def test_pool_is_installed_upgraded_and_removed(
    server: Apiserver, chart: Path, tmp_path: Path, major: str, how: tuple[str, ...]
) -> None:
    """The API server takes all of it; a proxy that leaves the values leaves the cluster; nothing stays."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(yaml.safe_dump(POOL | EVERYTHING))
    second.write_text(yaml.safe_dump(POOL | EVERYTHING | {"proxies": POOL["proxies"][:1]}))
    where = ("-n", "vpn", *server.options)
    run(major, "install", "rel", chart, *where, "--create-namespace", "-f", first, *how)
    deployments = f"/apis/apps/v1{NAMESPACE}/deployments"
    assert server.names(deployments) == {"rel-proxywatch-golden-crab", "rel-proxywatch-free-salmon"}
    template = server.get(f"{deployments}/rel-proxywatch-golden-crab")["spec"]["template"]["spec"]
    assert [each["name"] for each in template["containers"]] == ["proxy", "proxywatch"]
    assert template["shareProcessNamespace"]
    assert server.names(f"/apis/networking.k8s.io/v1{NAMESPACE}/networkpolicies") == {"rel-proxywatch"}
    run(major, "upgrade", "rel", chart, *where, "-f", second, *how)
    assert server.names(deployments) == {"rel-proxywatch-golden-crab"}
    assert "rel-proxywatch-free-salmon" not in server.names(f"/api/v1{NAMESPACE}/services")
    run(major, "uninstall", "rel", *where)
    left = server.names(deployments) | server.names(f"/api/v1{NAMESPACE}/services")
    assert not left
    configs = server.names(f"/api/v1{NAMESPACE}/configmaps")
    assert not [name for name in configs if name.startswith("rel-")]
