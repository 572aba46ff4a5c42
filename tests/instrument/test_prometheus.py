"""Both collectors, through prometheus_client's own registry and formats."""

import threading
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from instrument.test_dns import ask, reply
from proxywatch.instrument import MetricsAwareDns, MetricsAwareProxy
from proxywatch.instrument.prometheus import DnsCollector, ProxyCollector
from support.fakes import FakeClock

PROXY = """\
# HELP proxy_connections_opened_total Connections opened.
# TYPE proxy_connections_opened_total counter
proxy_connections_opened_total{node="se-1",route="se",type="socks5"} 2.0
# HELP proxy_connections_active Connections that are open.
# TYPE proxy_connections_active gauge
proxy_connections_active{node="se-1",route="se",type="socks5"} 1.0
# HELP proxy_connection_duration_seconds Duration of connections that have ended.
# TYPE proxy_connection_duration_seconds summary
proxy_connection_duration_seconds_count{node="se-1",route="se",type="socks5"} 1.0
proxy_connection_duration_seconds_sum{node="se-1",route="se",type="socks5"} 0.0
# HELP proxy_requests_total Requests served.
# TYPE proxy_requests_total counter
proxy_requests_total{node="se-1",route="se",type="socks5"} 2.0
# HELP proxy_received_bytes_total Bytes received from clients.
# TYPE proxy_received_bytes_total counter
proxy_received_bytes_total{node="se-1",route="se",type="socks5"} 10.0
# HELP proxy_sent_bytes_total Bytes sent to clients.
# TYPE proxy_sent_bytes_total counter
proxy_sent_bytes_total{node="se-1",route="se",type="socks5"} 20.0
# HELP proxy_connections_closed_total Connections that have ended, by reason.
# TYPE proxy_connections_closed_total counter
proxy_connections_closed_total{reason="lost"} 1.0
# HELP proxy_events_total Events told to listeners, by what became of them.
# TYPE proxy_events_total counter
proxy_events_total{result="delivered"} 2.0
proxy_events_total{result="failed"} 0.0
proxy_events_total{result="lost"} 0.0
"""


def test_proxy() -> None:
    """The whole body, byte for byte."""
    proxy = MetricsAwareProxy(clock=FakeClock().monotonic)
    proxy.on("connection-open", lambda _event: None, inline=True)
    proxy.open(type="socks5", route="se", node="se-1", client="10.0.0.9").received(10)
    other = proxy.open(type="socks5", route="se", node="se-1", client="10.0.0.8")
    other.sent(20)
    other.close("lost")
    registry = CollectorRegistry()
    registry.register(ProxyCollector(proxy))
    assert generate_latest(registry).decode() == PROXY


def test_dns() -> None:
    """Samples by their labels; no domain and no client among them."""
    server = MetricsAwareDns()
    server.begin(ask("secret.example", "AAAA"), source="https", client="10.9.8.7").answer(
        reply(ask()), cached=True
    )
    server.begin(b"").fail(ValueError())
    pending = server.begin(ask())
    registry = CollectorRegistry()
    registry.register(DnsCollector(server, prefix="pod_dns"))
    text = generate_latest(registry).decode()
    value = registry.get_sample_value
    assert value("pod_dns_queries_total", {"source": "https", "type": "AAAA"}) == 1
    assert value("pod_dns_queries_total", {"source": "udp", "type": "malformed"}) == 1
    assert value("pod_dns_responses_total", {"code": "NOERROR"}) == 1
    assert value("pod_dns_responses_total", {"code": "none"}) == 1
    assert value("pod_dns_cache_results_total", {"result": "hit"}) == 1
    assert value("pod_dns_cache_results_total", {"result": "miss"}) == 0
    assert value("pod_dns_cache_results_total", {"result": "uncacheable"}) == 1
    assert value("pod_dns_errors_total") == 1
    assert value("pod_dns_queries_in_flight") == 1
    assert value("pod_dns_response_time_seconds_bucket", {"le": "5.0"}) == 2
    assert value("pod_dns_response_time_seconds_count") == 2
    assert "secret" not in text
    assert "10.9.8.7" not in text
    pending.answer(None)


@pytest.mark.parametrize(
    "make", [lambda: ProxyCollector(MetricsAwareProxy()), lambda: DnsCollector(MetricsAwareDns())]
)
def test_families(make: Callable[[], ProxyCollector | DnsCollector]) -> None:
    """What is described is what is collected, and two of one prefix are refused by the registry."""
    collector, registry = make(), CollectorRegistry()
    registry.register(collector)
    described = [(it.name, it.type, it.documentation) for it in collector.describe()]
    assert described == [(it.name, it.type, it.documentation) for it in collector.collect()]
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(make())
    assert list(parsed(generate_latest(registry).decode()))
    assert list(parsed_openmetrics(openmetrics(registry).decode()))  # type: ignore[no-untyped-call]


def test_every_scrape_balances() -> None:
    """While queries and connections come and go in other threads."""
    proxy, server, stop = MetricsAwareProxy(), MetricsAwareDns(), threading.Event()
    registry = CollectorRegistry()
    registry.register(ProxyCollector(proxy))
    registry.register(DnsCollector(server))
    query = ask()

    def work() -> None:
        while not stop.is_set():
            with proxy.open():
                server.begin(query).answer(query, cached=True)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for thread in workers:
        thread.start()
    for _ in range(100):
        sums: dict[str, float] = {}
        for family in registry.collect():
            for sample in family.samples:
                if not sample.name.endswith("_bucket"):
                    sums[sample.name] = sums.get(sample.name, 0) + sample.value
        assert sums.get("proxy_connections_opened_total", 0) == sums.get(
            "proxy_connection_duration_seconds_count", 0
        ) + sums.get("proxy_connections_active", 0)
        assert sums["dns_cache_results_total"] == sums.get("dns_queries_total", 0)
        assert sums["dns_response_time_seconds_count"] == sums.get("dns_responses_total", 0)
    stop.set()
    for thread in workers:
        thread.join()
