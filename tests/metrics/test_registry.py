"""What all collectors publish together."""

import pytest

from proxywatch.metrics import family as metric
from proxywatch.metrics.registry import Registry
from support.publishers import Puppet


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (metric.gauge("a", "A."), metric.gauge("a", "Another.")),
        (metric.counter("a_total", "A."), metric.gauge("a", "The family's name in OpenMetrics.")),
        (metric.histogram("a", "A."), metric.gauge("a_count", "One of the histogram's series.")),
    ],
)
def test_a_name_is_published_by_one_alone(first: metric.Family, second: metric.Family) -> None:
    """And is free again when that one is gone."""
    registry = Registry({"proxy_name": "proxy"})
    registry.register(Puppet("one", {first: None}))
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(Puppet("two", {second: None}))
    assert list(registry.collectors) == ["one"]
    registry.unregister(registry.collectors["one"])
    registry.register(Puppet("two", {second: None}))


def test_every_series_carries_the_proxys_name() -> None:
    """Beside its own labels, also after the name has changed."""
    registry = Registry({"proxy_name": "golden-crab"})
    registry.register(Puppet("one", {metric.gauge("a", "A.", ["b"]): {"c": 1.0}}))
    registry.labels = {"proxy_name": "blue-whale"}
    (family,) = registry.collect()
    assert [sample.labels for sample in family.samples] == [{"proxy_name": "blue-whale", "b": "c"}]
