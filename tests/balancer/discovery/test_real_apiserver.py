"""Pods of a real API server, with no more rights than the documented role: they come, change, go, and it restarts."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from proxywatch.balancer.discovery.http import Server
from proxywatch.balancer.discovery.kubernetes import KubernetesSource
from proxywatch.balancer.discovery.sighting import Sighting
from proxywatch.balancer.discovery.sources import Sources, SourceState
from proxywatch.clock import SystemClock
from proxywatch.errors import SourceError
from support.apiserver import Apiserver, apiserver

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[3] / "docs" / "discovery.md"
PODS = "/api/v1/namespaces/vpn/pods"


class Admin:
    """Changes what the server has."""

    def __init__(self, server: Apiserver, directory: Path) -> None:
        self.server = server
        self.ca = str(directory / "apiserver.crt")
        self.context = ssl._create_unverified_context()

    def send(self, method: str, path: str, document: Any = None, kind: str = "application/json") -> Any:
        request = urllib.request.Request(
            self.server.url + path,
            data=None if document is None else json.dumps(document).encode(),
            method=method,
            headers={"Authorization": "Bearer test", "Content-Type": kind},
        )
        with urllib.request.urlopen(request, timeout=10, context=self.context) as response:
            return json.load(response)

    def pod(self, name: str, ip: str, **labels: str) -> None:
        """A pod that runs and is ready, as a kubelet would say."""
        marks = {"proxywatch/country": "se"} | {f"proxywatch/{key}": value for key, value in labels.items()}
        spec = {
            "nodeName": "node-1",
            "containers": [{"name": "p", "image": "x", "ports": [{"name": "socks", "containerPort": 1080}]}],
        }
        self.send("POST", PODS, {"metadata": {"name": name, "labels": marks}, "spec": spec})
        self.status(name, {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}, ready=True)

    def status(self, name: str, status: dict[str, Any] | None = None, *, ready: bool) -> None:
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        document = {"status": {**(status or {}), "conditions": conditions}}
        self.send("PATCH", f"{PODS}/{name}/status", document, "application/strategic-merge-patch+json")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("apiserver")


@pytest.fixture(scope="module")
def admin(directory: Path) -> Iterator[Admin]:
    with apiserver(directory) as server:
        admin = Admin(server, directory)
        admin.send("POST", "/api/v1/namespaces", {"metadata": {"name": "vpn"}})
        yield admin


def documented_role() -> dict[str, Any]:
    """The role that the page gives."""
    blocks = DOCS.read_text().split("```yaml\n")[1:]
    documents = [each for block in blocks for each in yaml.safe_load_all(block.partition("```")[0])]
    return next(each for each in documents if isinstance(each, dict) and each.get("kind") == "Role")


@pytest.fixture(scope="module")
def source(admin: Admin, directory: Path) -> KubernetesSource:
    """With the token of an account that has the documented role and nothing else."""
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/vpn"
    role = documented_role()
    role["metadata"].pop("namespace", None)
    admin.send("POST", f"{rbac}/roles", role)
    admin.send("POST", "/api/v1/namespaces/vpn/serviceaccounts", {"metadata": {"name": "balancer"}})
    binding = {
        "metadata": {"name": "balancer"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": role["metadata"]["name"],
        },
        "subjects": [{"kind": "ServiceAccount", "name": "balancer", "namespace": "vpn"}],
    }
    admin.send("POST", f"{rbac}/rolebindings", binding)
    asked = {"spec": {"audiences": ["https://cluster.local"], "expirationSeconds": 3600}}
    token = admin.send("POST", "/api/v1/namespaces/vpn/serviceaccounts/balancer/token", asked)["status"][
        "token"
    ]
    (directory / "token").write_text(token)
    server = Server(admin.server.url, token_file=str(directory / "token"), ca_file=admin.ca)
    return KubernetesSource(server, "vpn", "proxywatch/country", SystemClock())


async def until(sees: Callable[[], Awaitable[Sighting]], so: Callable[[Sighting], object]) -> Sighting:
    async with asyncio.timeout(30):
        while True:
            sighting = await sees()
            if so(sighting):
                return sighting


async def test_pods_come_change_and_go(admin: Admin, source: KubernetesSource) -> None:
    """Ready, not ready, being deleted for as long as its grace, gone: each is seen with its event."""
    admin.pod("se-1", "10.1.0.1")
    async with aclosing(source.watch()) as watch:
        assert list((await anext(watch)).nodes) == ["se-1"]
        admin.pod("se-2", "10.1.0.2", city="got")
        second = await until(watch.__anext__, lambda it: "se-2" in it.nodes)
        assert second.nodes["se-2"].city == "got"
        admin.status("se-2", ready=False)
        unready = await until(watch.__anext__, lambda it: "se-2" in it.leaving)
        assert unready.leaving["se-2"].reason == "its pod is not ready"
        admin.status("se-2", ready=True)
        await until(watch.__anext__, lambda it: "se-2" in it.nodes)
        admin.send("DELETE", f"{PODS}/se-2", {"gracePeriodSeconds": 30})
        leaving = await until(watch.__anext__, lambda it: "se-2" in it.leaving)
        assert leaving.leaving["se-2"].reason == "its pod is being deleted"
        admin.send("DELETE", f"{PODS}/se-2", {"gracePeriodSeconds": 0})
        gone = await until(watch.__anext__, lambda it: "se-2" not in it.leaving)
        assert list(gone.nodes) == ["se-1"]


async def test_another_namespace_is_not_ours_to_see(admin: Admin, source: KubernetesSource) -> None:
    """The role is as small as can be, and the message says what is missing."""
    everywhere = KubernetesSource(source.server, "", source.selector, source.clock)
    with pytest.raises(SourceError, match="`list` and `watch`"):
        await anext(everywhere.watch())
    secrets = urllib.request.Request(
        f"{admin.server.url}/api/v1/namespaces/vpn/secrets",
        headers={"Authorization": f"Bearer {Path(source.server.token_file).read_text()}"},
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        await asyncio.to_thread(urllib.request.urlopen, secrets, context=admin.context)


async def test_a_server_whose_certificate_is_not_trusted_gets_no_token(source: KubernetesSource) -> None:
    """It could be anybody."""
    server = Server(source.server.url, token_file=source.server.token_file)
    with pytest.raises(SourceError, match="certificate"):
        await anext(KubernetesSource(server, "vpn", source.selector, source.clock).watch())


async def test_a_server_that_is_restarted_loses_nobody(admin: Admin, source: KubernetesSource) -> None:
    """What was known stands while it is away; what changed meanwhile is seen after it."""
    clock = SystemClock()
    seen: list[dict[str, Sighting]] = []
    sources = Sources(lambda sightings: seen.append(dict(sightings)), clock=clock, dice=Random(1))
    sources.configure({"kubernetes": source})
    task = asyncio.ensure_future(sources.run())  # noqa: TID251 - cancelled below

    async def state(so: Callable[[SourceState], object]) -> None:
        async with asyncio.timeout(60):
            while not so(sources.states["kubernetes"]):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.1)

    await state(lambda it: it.nodes == 1)
    await asyncio.to_thread(admin.server.stop)
    await state(lambda it: it.fault)
    assert list(seen[-1]["kubernetes"].nodes) == ["se-1"]
    await asyncio.to_thread(admin.server.start)
    await asyncio.to_thread(admin.pod, "se-3", "10.1.0.3")
    await state(lambda it: it.nodes == 2 and not it.fault)
    assert list(seen[-1]["kubernetes"].nodes) == ["se-1", "se-3"]
    assert all("se-1" in each["kubernetes"].nodes for each in seen if each)
    task.cancel()
