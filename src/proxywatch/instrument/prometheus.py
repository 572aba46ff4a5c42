"""Collectors for prometheus_client: the only file of this package that needs it.

Each scrape is made of counts taken at one moment, so that what adds up does so in every scrape. Names of
clients and domains are never labels.
"""

from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from proxywatch.instrument.dns import MetricsAwareDns
from proxywatch.instrument.histogram import Distribution
from proxywatch.instrument.hub import Hub
from proxywatch.instrument.ledger import Account
from proxywatch.instrument.proxy import MetricsAwareProxy
from proxywatch.instrument.tally import DnsCounts

_PLACE = ("type", "route", "node")


class ProxyCollector:
    """Metrics of a MetricsAwareProxy, to be registered with a CollectorRegistry.

    Args:
        proxy: The proxy.
        prefix: First word of all names.
    """

    def __init__(self, proxy: MetricsAwareProxy, prefix: str = "proxy") -> None:
        self._proxy = proxy
        self._prefix = prefix

    def describe(self) -> Iterable[Metric]:
        """The families without samples."""
        return self._families((), {})

    def collect(self) -> Iterable[Metric]:
        """The families as they are now."""
        return self._families(*self._proxy.ledger.books())

    def _families(self, accounts: tuple[Account, ...], reasons: dict[str, int]) -> Iterator[Metric]:
        name = self._prefix
        opened = CounterMetricFamily(f"{name}_connections_opened", "Connections opened.", labels=_PLACE)
        active = GaugeMetricFamily(f"{name}_connections_active", "Connections that are open.", labels=_PLACE)
        closed = SummaryMetricFamily(
            f"{name}_connection_duration_seconds", "Duration of connections that have ended.", labels=_PLACE
        )
        requests = CounterMetricFamily(f"{name}_requests", "Requests served.", labels=_PLACE)
        received = CounterMetricFamily(
            f"{name}_received_bytes", "Bytes received from clients.", labels=_PLACE
        )
        sent = CounterMetricFamily(f"{name}_sent_bytes", "Bytes sent to clients.", labels=_PLACE)
        for it in accounts:
            place = (it.type, it.route, it.node)
            opened.add_metric(place, it.opened)
            active.add_metric(place, it.active)
            closed.add_metric(place, it.closed, it.seconds)
            requests.add_metric(place, it.requests)
            received.add_metric(place, it.bytes_in)
            sent.add_metric(place, it.bytes_out)
        ended = CounterMetricFamily(
            f"{name}_connections_closed", "Connections that have ended, by reason.", labels=("reason",)
        )
        for reason, count in reasons.items():
            ended.add_metric((reason,), count)
        yield from (opened, active, closed, requests, received, sent, ended)
        yield _events(self._proxy, name)


class DnsCollector:
    """Metrics of a MetricsAwareDns, to be registered with a CollectorRegistry.

    Args:
        dns: The server.
        prefix: First word of all names.
    """

    def __init__(self, dns: MetricsAwareDns, prefix: str = "dns") -> None:
        self._dns = dns
        self._prefix = prefix

    def describe(self) -> Iterable[Metric]:
        """The families without samples."""
        return self._families(self._dns.get_counts())

    def collect(self) -> Iterable[Metric]:
        """The families as they are now."""
        return self._families(self._dns.get_counts())

    def _families(self, counts: DnsCounts) -> Iterator[Metric]:
        name = self._prefix
        queries = CounterMetricFamily(f"{name}_queries", "Queries.", labels=("source", "type"))
        for place, count in counts.by_source_and_type.items():
            queries.add_metric(place, count)
        codes = CounterMetricFamily(f"{name}_responses", "Queries by response code.", labels=("code",))
        for code, count in counts.by_response_code.items():
            codes.add_metric((code,), count)
        cache = CounterMetricFamily(
            f"{name}_cache_results", "Queries by what the cache had for them.", labels=("result",)
        )
        for result, count in (
            ("hit", counts.hits),
            ("miss", counts.misses),
            ("uncacheable", counts.uncacheable),
        ):
            cache.add_metric((result,), count)
        errors = CounterMetricFamily(f"{name}_errors", "Queries whose handler failed.", counts.errors)
        active = GaugeMetricFamily(f"{name}_queries_in_flight", "Queries not yet ended.", counts.in_flight)
        yield from (queries, codes, cache, errors, active)
        yield _histogram(f"{name}_response_time_seconds", counts.response_times)
        yield _events(self._dns, name)


def _histogram(name: str, times: Distribution) -> Metric:
    bounds = ("+Inf" if bound == float("inf") else repr(bound) for bound in times.bounds)
    buckets = list(zip(bounds, times.counts, strict=True))
    return HistogramMetricFamily(name, "Time from a query to its end.", buckets, times.sum)


def _events(hub: Hub, name: str) -> Metric:
    family = CounterMetricFamily(
        f"{name}_events", "Events told to listeners, by what became of them.", labels=("result",)
    )
    delivery = hub.delivery
    for result in ("delivered", "failed", "lost"):
        family.add_metric((result,), getattr(delivery, result))
    return family
