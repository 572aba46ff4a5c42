"""Declarations of metrics, one constant each, used by describe(), collect(), the reference and the tests.

A declaration makes families of the client library of Prometheus. One without a sample is exposed as its
HELP and TYPE alone: a measurement that did not happen is absent.
"""

from collections.abc import Mapping, Sequence
from math import isinf

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.samples import Exemplar, Sample

from proxywatch.distribution import Distribution

__all__ = ["Family", "Labels", "Metric", "Sample", "counter", "gauge", "histogram", "summary"]

Labels = str | tuple[str, ...]
Bucket = tuple[str, float] | tuple[str, float, Exemplar]


class Family(Metric):
    """A metric as it is declared: a family of the client library that has no samples and makes those that do.

    Attributes:
        labels: Label names besides the constant ones of the registry.
    """

    def __init__(self, name: str, kind: str, explanation: str, labels: Sequence[str] = ()) -> None:
        """Declare a metric.

        Args:
            name: As exposed; a counter's ends in `_total`.
            kind: One of the client library's types.
            explanation: Constant; says what is measured, from which source, and when it is absent.
            labels: Label names.
        """
        super().__init__(name.removesuffix("_total") if kind == "counter" else name, explanation, kind)
        self.labels = tuple(labels)

    def __hash__(self) -> int:
        return hash((self.name, self.type))

    __eq__ = Metric.__eq__

    @classmethod
    def of(cls, metric: Metric) -> "Family":
        """The declaration of a family that somebody else made."""
        names = {name for sample in metric.samples for name in sample.labels} - {"le", "quantile"}
        return cls(metric.name, metric.type, metric.documentation, sorted(names))

    @property
    def exposed(self) -> str:
        """The name in the text format, which queries use: a counter's ends in `_total`."""
        return f"{self.name}_total" if self.type == "counter" else self.name

    def absent(self) -> Metric:
        """The family without a sample."""
        return self.values({})

    def value(self, value: float | None) -> Metric:
        """The family with its one sample, or without it when there is no value."""
        return self.values({} if value is None else {(): value})

    def values(self, values: Mapping[Labels, float]) -> Metric:
        """The family with a sample for each tuple of label values (a lone label's value may stand bare)."""
        make = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        family = make(self.name, self.documentation, labels=self.labels)
        for labels, value in values.items():
            family.add_metric(self._labels(labels), float(value))
        return family

    def distribution(self, distribution: Distribution) -> Metric:
        """The histogram without labels."""
        return self.distributions({(): distribution})

    def distributions(self, distributions: Mapping[Labels, Distribution]) -> Metric:
        """The histogram with its buckets for each tuple of label values."""
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labels)
        for labels, distribution in distributions.items():
            family.add_metric(self._labels(labels), _buckets(distribution), distribution.sum)
        return family

    def totals(self, distributions: Mapping[Labels, Distribution]) -> Metric:
        """The summary, how many and their sum, for each tuple of label values."""
        family = SummaryMetricFamily(self.name, self.documentation, labels=self.labels)
        for labels, distribution in distributions.items():
            family.add_metric(self._labels(labels), distribution.count, distribution.sum)
        return family

    def _labels(self, labels: Labels) -> list[str]:
        values = (labels,) if isinstance(labels, str) else labels
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {values}")
        return [str(value) for value in values]


def gauge(name: str, explanation: str, labels: Sequence[str] = ()) -> Family:
    """Declare a gauge."""
    return Family(name, "gauge", explanation, labels)


def counter(name: str, explanation: str, labels: Sequence[str] = ()) -> Family:
    """Declare a counter; the name ends in `_total`."""
    return Family(name, "counter", explanation, labels)


def histogram(name: str, explanation: str, labels: Sequence[str] = ()) -> Family:
    """Declare a histogram; its buckets are those of the distributions that it is given."""
    return Family(name, "histogram", explanation, labels)


def summary(name: str, explanation: str, labels: Sequence[str] = ()) -> Family:
    """Declare a summary without quantiles: a count and a sum, for means."""
    return Family(name, "summary", explanation, labels)


def _buckets(distribution: Distribution) -> list[Bucket]:
    return [
        (_le(bound), float(count), Exemplar(*exemplar)) if exemplar else (_le(bound), float(count))
        for bound, count, exemplar in distribution.cumulative()
    ]


def _le(bound: float) -> str:
    return "+Inf" if isinf(bound) else repr(float(bound))
