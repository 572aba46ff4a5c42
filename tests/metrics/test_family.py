"""Declared families as they are exposed."""

from proxywatch.distribution import Distribution, Exemplar
from proxywatch.metrics import exposition
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric


def text(family: Metric) -> str:
    return exposition.text(family).decode()


def test_a_gauge_without_a_value_is_absent() -> None:
    """Its HELP and TYPE stay, its sample does not."""
    family = metric.gauge("a_seconds", "A.")
    assert "a_seconds 1.5" in text(family.value(1.5))
    assert text(family.value(None)) == "# HELP a_seconds A.\n# TYPE a_seconds gauge\n"


def test_a_counter_keeps_its_name() -> None:
    """Declared and exposed with `_total`."""
    assert 'b_total{reason="x"} 3.0' in text(metric.counter("b_total", "B.", ["reason"]).values({"x": 3}))


def test_a_histogram_has_its_buckets_sum_and_count() -> None:
    """Cumulative, with +Inf; what is no number is not counted."""
    distribution = Distribution([0.1, 1])
    for value in (0.1, 0.5, 7, float("nan"), float("inf")):
        distribution.observe(value)
    lines = text(metric.histogram("c_seconds", "C.").distribution(distribution)).splitlines()[2:]
    assert lines == [
        'c_seconds_bucket{le="0.1"} 1.0',
        'c_seconds_bucket{le="1.0"} 2.0',
        'c_seconds_bucket{le="+Inf"} 3.0',
        "c_seconds_count 3.0",
        "c_seconds_sum 7.6",
    ]
    assert distribution.count == 3


def test_exemplars_appear_in_openmetrics_alone() -> None:
    """With the label that leads to the probe."""
    distribution = Distribution([1])
    distribution.observe(0.5, Exemplar({"probe": "17"}, 0.5, 1795262692.0))
    family = metric.histogram("d_seconds", "D.").distribution(distribution)
    openmetrics = exposition.openmetrics(family).decode()
    assert 'd_seconds_bucket{le="1.0"} 1.0 # {probe="17"} 0.5 1795262692.0' in openmetrics
    assert "#" not in text(family).splitlines()[2]


def test_labels_stand_in_the_declared_order() -> None:
    """A tuple of values by the tuple of names."""
    family = Family("e", "gauge", "E.", ["device", "state"])
    assert 'e{device="wg0",state="up"} 1.0' in text(family.values({("wg0", "up"): 1}))
