"""The API's answers, from a pool that a test fills."""

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from litestar.testing import TestClient

from proxywatch.balancer.api.app import build
from proxywatch.balancer.attempt import Choice
from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.choosing.settings import Balancing, Choosing
from proxywatch.balancer.control import Control
from proxywatch.balancer.facts.sidecar import SidecarState
from proxywatch.balancer.metrics import BalancerMetrics
from proxywatch.balancer.node import Node, Upstream
from proxywatch.balancer.request import Request, Wishes
from proxywatch.metrics.registry import Registry
from support.fakes import FakeClock


class Rig:
    """A pool with its API."""

    def __init__(self, choosing: Choosing | None = None) -> None:
        self.clock = FakeClock()
        self.brain = PoolBrain(
            choosing or Choosing(), clock=self.clock.monotonic, wall=self.clock.now, dice=Random(1)
        )
        self.sidecars: dict[str, SidecarState] = {}
        control = Control(self.brain, self.clock, self.sidecars, lambda: {"load_balancer": {"strategy": "x"}})
        self.registry = Registry({})
        self.registry.register(BalancerMetrics(self.brain, self.clock, self.sidecars))
        self.api = TestClient(build(control, self.registry))

    def nodes(self, *countries: str) -> None:
        self.brain.set_nodes(
            Node(f"{country}-{number}", country, Upstream("socks5", f"10.0.0.{number}", 1080),
                 server=f"{country}-wg-{number}", sidecar=f"http://10.0.0.{number}:9090")
            for number, country in enumerate(countries, 1)
        )  # fmt: skip

    def learn(self, node: str, **facts: float | bool | str) -> None:
        now = self.clock.monotonic()
        self.brain.learn(node, {name: Fact(value, now, "sidecar") for name, value in facts.items()})

    def get(self, path: str, status: int = 200) -> Any:
        response = self.api.get(path)
        assert response.status_code == status, response.text
        return response.json()

    def send(self, method: str, path: str, document: Any = None, status: int = 200) -> Any:
        response = self.api.request(method, path, json=document)
        assert response.status_code == status, response.text
        return response.json()

    def connect(self, country: str) -> str:
        request = Request(
            self.clock.monotonic(), self.clock.now(), "192.0.2.1", wishes=Wishes(country=country)
        )
        choice = self.brain.choose(request)
        assert isinstance(choice, Choice)
        return choice.node.id


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    with rig.api:
        yield rig


GOLDEN = [
    (50.0, 0, 0.0, 0.0, 100.0),
    (100.0, 0, 0.0, 0.0, 95.0),
    (150.0, 0, 0.0, 0.0, 89.9),
    (50.0, 10, 0.0, 0.0, 95.7),
    (50.0, 0, 40.0, 0.0, 92.8),
    (50.0, 0, 0.0, 600.0, 97.0),
    (400.0, 60, 100.0, 900.0, 75.4),
    (61.7, 25, 45.2, 250.0, 87.3),
]


@pytest.mark.parametrize(("latency", "connections", "cpu", "memory", "score"), GOLDEN)
def test_documented_scores(  # noqa: PLR0917 - the columns of the table
    rig: Rig, latency: float, connections: int, cpu: float, memory: float, score: float
) -> None:
    """A1: the formula's vectors, 87.3 of the documented example among them, through the API."""
    rig.nodes("us")
    rig.learn(
        "us-1", server_latency_ms=latency, connections=float(connections), cpu_percent=cpu,
        memory_mb=memory, success_rate_percent=100.0, tunnel_up=True, exit_country="us",
    )  # fmt: skip
    assert rig.get("/api/load-balancer/best-node/us")["selected_node"]["health_score"] == score
    assert rig.get("/api/load-balancer/stats")["countries"]["us"]["nodes"][0]["health_score"] == score


def test_the_documented_statistics(rig: Rig) -> None:
    """Every key of the documented answer, with its meaning."""
    rig.nodes("us", "us", "gb")
    rig.learn("us-1", connections=25.0, cpu_percent=45.2)
    rig.learn("us-2", connections=20.0)
    stats = rig.get("/api/load-balancer/stats")
    assert stats["strategies"][:5] == [
        "round_robin", "least_connections", "weighted_latency", "random", "health_score",
    ]  # fmt: skip
    assert stats["round_robin_counters"] == {}
    us = stats["countries"]["us"]
    assert (us["node_count"], us["total_connections"], us["avg_connections_per_node"]) == (2, 45, 22.5)
    node = us["nodes"][0]
    assert {"id", "server", "connections", "tailscale_ip", "cpu_percent", "health_score"} <= node.keys()
    assert (node["server"], node["connections"], node["cpu_percent"]) == ("us-wg-1", 25, 45.2)


def test_best_node(rig: Rig) -> None:
    """The documented answer; the alias is echoed; nothing usable is 404 with the documented words."""
    rig.nodes("gb")
    answer = rig.get("/api/load-balancer/best-node/uk")
    assert answer["country"] == "uk"
    assert answer["strategy"] == "health_score"
    assert answer["selected_node"].keys() == {"id", "country", "server", "tailscale_ip", "health_score"}
    assert rig.get("/api/load-balancer/best-node/jp", 404) == {"detail": "No healthy nodes available"}


def test_round_robin_is_exact_in_each_country(rig: Rig) -> None:
    """A9, A10: by id, one after the other, each country for itself; a look changes nothing."""
    rig.nodes("us", "us", "us", "de", "de")
    rig.send("POST", "/api/load-balancer/strategy", {"strategy": "round_robin"})
    us, de = [], []
    for turn in range(12):
        assert rig.get("/api/load-balancer/best-node/us")
        us.append(rig.connect("us"))
        if turn % 2:
            de.append(rig.connect("de"))
    assert us == ["us-1", "us-2", "us-3"] * 4
    assert de == ["de-4", "de-5"] * 3
    assert rig.get("/api/load-balancer/stats")["round_robin_counters"] == {"us": 12, "de": 6}
    before = rig.get("/api/load-balancer/best-node/us?advance=true")["selected_node"]["id"]
    after = rig.get("/api/load-balancer/best-node/us")["selected_node"]["id"]
    assert before != after


def test_shares_of_weighted_latency(rig: Rig) -> None:
    """50, 100, 150 and 200 ms: 150 to 100 to 50 to 1."""
    rig = Rig(Choosing(balancing=Balancing(strategy="weighted_latency", bias=0.0, slow_start=0)))  # type: ignore[arg-type]
    rig.nodes("se", "se", "se", "se")
    for number, latency in enumerate((50.0, 100.0, 150.0, 200.0), 1):
        rig.learn(f"se-{number}", server_latency_ms=latency)
    picks = [rig.connect("se") for _ in range(9030)]
    for number, share in enumerate((150, 100, 50, 1), 1):
        assert picks.count(f"se-{number}") / len(picks) == pytest.approx(share / 301, abs=0.02)


def test_strategies(rig: Rig) -> None:
    """The default, one country's own, and words that are none."""
    rig.nodes("se")
    listed = rig.get("/api/load-balancer/strategies")["strategies"]
    assert {"round_robin", "health_score", "power_of_two"} <= {entry["name"] for entry in listed}
    assert rig.send("PUT", "/api/load-balancer/strategy/se", {"strategy": "random"}) == {
        "country": "se", "strategy": "random",
    }  # fmt: skip
    assert rig.get("/api/load-balancer/strategy") == {
        "strategy": "health_score", "countries": {"se": "random"},
    }  # fmt: skip
    refused = rig.send("POST", "/api/load-balancer/strategy", {"strategy": "fastest"}, 422)
    assert "unknown strategy" in refused["detail"]
    assert rig.send("POST", "/api/load-balancer/strategy", {"stategy": "random"}, 422)["detail"]


def test_a_lease_from_its_assignment_to_its_end(rig: Rig) -> None:
    """It counts as in flight while it is held; its end is its end."""
    rig.nodes("se", "se")
    given = rig.send("POST", "/api/load-balancer/assign", {"country": "se"})
    lease = given["lease"]["id"]
    assert given["url"] in {"socks5://10.0.0.1:1080", "socks5://10.0.0.2:1080"}
    assert rig.get(f"/api/nodes/{given['node']}")["in_flight"] == 1
    assert [entry["id"] for entry in rig.get("/api/load-balancer/leases")] == [lease]
    assert rig.get(f"/api/load-balancer/decisions/{given['decision']}")["decision"]["lease"] == lease
    assert rig.send("DELETE", f"/api/load-balancer/leases/{lease}")["status"] == "released"
    assert rig.get(f"/api/nodes/{given['node']}")["in_flight"] == 0
    rig.send("DELETE", f"/api/load-balancer/leases/{lease}", status=404)
    assert rig.send("POST", "/api/load-balancer/assign", {"country": "jp"}, 404)["detail"]


def test_a_session_keeps_its_node(rig: Rig) -> None:
    """One session, one exit; a dry run gives nothing."""
    rig.nodes("se", "se", "se")
    wanted = {"country": "se", "session": "a"}
    first = rig.send("POST", "/api/load-balancer/assign", wanted)
    assert {rig.send("POST", "/api/load-balancer/assign", wanted)["node"] for _ in range(5)} == {
        first["node"]
    }
    dry = rig.send("POST", "/api/load-balancer/assign", wanted | {"dry_run": True})
    assert (dry["node"], dry["lease"]) == (first["node"], None)


def test_nodes_with_their_facts_and_why_they_score_so(rig: Rig) -> None:
    """One, all, both spellings, by country and by state."""
    rig.nodes("se", "de")
    rig.learn("se-1", proxy_latency_ms=120.0, success_rate_percent=93.0)
    rig.sidecars["se-1"] = SidecarState(1.0, "", 1, 0)
    node = rig.get("/api/nodes/se-1")
    assert node["facts"]["proxy_latency_ms"] == {
        "value": 120.0, "age_seconds": 0.0, "source": "sidecar", "stale": False,
    }  # fmt: skip
    assert [cap["score"] for cap in node["caps"]] == [69.0, 99.9]
    assert "success rate" in node["caps"][0]["reason"]
    assert node["health_score"] == 69.0
    assert node["base_score"] > 69
    assert node["sidecar"] == {"url": "http://10.0.0.1:9090", "last_success": 1.0, "fault": ""}
    assert rig.get("/api/nodes/list") == rig.get("/api/nodes")
    assert [entry["id"] for entry in rig.get("/api/nodes?country=de")] == ["de-2"]
    assert rig.get("/api/nodes?state=ejected") == []
    assert rig.get("/api/nodes/list")[0]["status"] == "running"
    rig.get("/api/nodes/nobody", 404)


def test_facts_of_an_operators_own_monitor(rig: Rig) -> None:
    """They win over collected ones; one that cannot be is refused, and none of them is taken."""
    rig.nodes("se")
    rig.learn("se-1", proxy_latency_ms=500.0)
    assert (
        rig.send("POST", "/api/nodes/se-1/facts", {"proxy_latency_ms": 80, "tunnel_up": True})["taken"] == 2
    )
    assert rig.get("/api/nodes/se-1")["facts"]["proxy_latency_ms"]["source"] == "operator"
    refused = rig.send("POST", "/api/nodes/se-1/facts", {"speed_mbps": 10, "colour": "red"}, 422)
    assert "unknown fact" in refused["detail"]
    assert "speed_mbps" not in rig.get("/api/nodes/se-1")["facts"]
    asyncio.run(rig.clock.advance(1))
    rig.send("POST", "/api/nodes/se-1/facts", {"tunnel_up": False})
    assert rig.get("/api/nodes/se-1")["state"] == "down"
    assert rig.get("/api/nodes/list")[0]["status"] == "unhealthy"


def test_drain_and_ready(rig: Rig) -> None:
    """A drained node gets no request; made ready it does again."""
    rig.nodes("se", "se")
    assert rig.send("POST", "/api/nodes/se-1/drain", {"deadline": 60})["status"] == "draining"
    assert {rig.connect("se") for _ in range(20)} == {"se-2"}
    assert rig.get("/api/nodes/se-1")["drain_seconds"] == 60
    assert rig.send("POST", "/api/nodes/se-1/ready")["status"] == "ready"
    assert rig.get("/api/nodes/se-1")["drain_seconds"] is None
    rig.send("POST", "/api/nodes/nobody/drain", status=404)


def test_decisions_newest_first_and_explained(rig: Rig) -> None:
    """Filtered, bounded, in words."""
    rig.nodes("se", "de")
    for _ in range(5):
        rig.connect("se")
    rig.connect("de")
    listed = rig.get("/api/load-balancer/decisions?limit=3")
    assert [entry["node"] for entry in listed] == ["de-2", "se-1", "se-1"]
    assert len(rig.get("/api/load-balancer/decisions?country=de")) == 1
    explained = rig.get(f"/api/load-balancer/decisions/{listed[0]['id']}")
    assert "de-2" in explained["text"]
    rig.get("/api/load-balancer/decisions/nothing", 404)
    rig.get("/api/load-balancer/decisions?limit=0", 422)


def test_service_discovery_of_the_sidecars(rig: Rig) -> None:
    """As Prometheus's HTTP service discovery takes it."""
    rig.nodes("se")
    assert rig.get("/sd") == [
        {
            "targets": ["10.0.0.1:9090"],
            "labels": {"id": "se-1", "country": "se", "server": "se-wg-1", "__scheme__": "http"},
        }
    ]


def test_the_rest(rig: Rig) -> None:
    """Countries, settings, the page, the OpenAPI document, what there is not."""
    rig.nodes("se")
    assert rig.get("/api/countries")[0]["preferred"] == "se-1"
    assert rig.get("/api/config")["load_balancer"]
    page = rig.api.get("/")
    assert "text/html" in page.headers["content-type"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    for path in ("/page.css", "/page.js", "/icon.svg"):
        assert rig.api.get(path).status_code == 200
    assert rig.get("/openapi.json")["openapi"].startswith("3.1")
    assert rig.get("/nowhere", 404)["detail"]


def test_metrics_in_both_formats(rig: Rig) -> None:
    """Every family; known labels at 0; OpenMetrics for those who ask."""
    rig.nodes("se")
    rig.connect("se")
    text = rig.api.get("/metrics").text
    assert 'balancer_node_in_flight{country="se",node="se-1"} 1.0' in text
    assert 'balancer_picks_total{strategy="health_score"} 1.0' in text
    assert "balancer_wrong_exits_total 0.0" in text
    assert 'balancer_refused_total{reason="denied"} 0.0' in text
    openmetrics = rig.api.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.text.endswith("# EOF\n")
