"""Both formats against Prometheus's client library, which is the reference of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as ClientMetric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ClientExemplar

from proxywatch.distribution import Distribution, Exemplar
from proxywatch.metrics import formats
from proxywatch.metrics.family import Family, Labels, Metric, Sample, counter, gauge, histogram

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# The reference writes a million and more with an exponent, which is the same number.
NUMBERS = st.floats(max_value=999_999, min_value=-999_999, allow_subnormal=False) | st.sampled_from(
    [math.inf, -math.inf]
)
VALUES = st.dictionaries(st.tuples(TEXTS, TEXTS), NUMBERS, max_size=4)
OBSERVED = st.lists(st.floats(min_value=0, max_value=9), max_size=6)
BUCKETS = (0.1, 0.5, 2.5)


class Alone(Collector):
    """One family of the client library's."""

    def __init__(self, family: ClientMetric) -> None:
        self.family = family

    def collect(self) -> list[ClientMetric]:
        return [self.family]

    def describe(self) -> list[ClientMetric]:
        return []


def reference(family: ClientMetric) -> tuple[bytes, bytes]:
    """What the client library makes of it, in both formats."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Alone(family))
    openmetrics: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), openmetrics


def ours(family: Metric) -> tuple[bytes, bytes]:
    return formats.text(family), formats.openmetrics(family) + formats.EOF


@given(TEXTS, VALUES)
def test_gauges_are_those_of_the_reference(words: str, values: dict[Labels, float]) -> None:
    """Byte for byte, whatever stands in help and labels."""
    theirs = GaugeMetricFamily("a_b", words, labels=["two", "one"])
    for labels, value in values.items():
        theirs.add_metric(labels, value)
    assert ours(gauge("a_b", words, ["two", "one"]).values(values)) == reference(theirs)


@given(TEXTS, VALUES)
def test_counters_are_those_of_the_reference(words: str, values: dict[Labels, float]) -> None:
    """Byte for byte; in OpenMetrics the family has no `_total`."""
    theirs = CounterMetricFamily("a_total", words, labels=["x", "y"])
    for labels, value in values.items():
        theirs.add_metric(labels, value)
    assert ours(counter("a_total", words, ["x", "y"]).values(values)) == reference(theirs)


@given(TEXTS, OBSERVED, TEXTS)
def test_histograms_are_those_of_the_reference(label: str, observed: list[float], probe: str) -> None:
    """Byte for byte, with exemplars."""
    distribution = Distribution(BUCKETS)
    for value in observed:
        distribution.observe(value, Exemplar({"probe": probe}, value, 1_795_262_692.25))
    buckets = [
        (
            "+Inf" if math.isinf(bound) else str(bound),
            count,
            exemplar and ClientExemplar(exemplar.labels, exemplar.value, exemplar.timestamp),
        )
        for bound, count, exemplar in distribution.cumulative()
    ]
    theirs = HistogramMetricFamily("a", "A.", labels=["x"])
    theirs.add_metric([label], buckets, distribution.sum)  # type: ignore[arg-type]
    assert ours(histogram("a", "A.", ["x"]).distributions({label: distribution})) == reference(theirs)


@given(st.floats(allow_nan=False))
def test_every_number_is_read_as_it_was(value: float) -> None:
    """By the parsers of both formats."""
    text, openmetrics = ours(gauge("a", "A.").value(value))
    (family,) = parse_text(text.decode())
    (other,) = parse_openmetrics(openmetrics.decode())  # type: ignore[no-untyped-call]
    assert [sample.value for sample in (*family.samples, *other.samples)] == [value, value]


def test_what_is_no_number_says_so() -> None:
    """As Prometheus writes it."""
    assert formats.text(gauge("a", "A.").value(math.nan)).endswith(b"\na NaN\n")


@pytest.mark.parametrize(
    ("family", "series"),
    [
        (gauge("a", "A."), {"a"}),
        (counter("a_total", "A."), {"a", "a_total"}),
        (histogram("a", "A."), {"a", "a_bucket", "a_count", "a_sum"}),
    ],
)
def test_a_family_says_which_names_it_takes(family: Family, series: set[str]) -> None:
    """All that nobody else may use."""
    assert set(family.series) == series


def test_a_sample_needs_no_labels() -> None:
    """Then there are no brackets."""
    assert formats.text(Metric("a", "gauge", "A.", [Sample("a", {}, 1.0)])).endswith(b"\na 1.0\n")
