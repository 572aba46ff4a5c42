"""The declaration of a metric: one constant each, used by describe(), collect() and the reference page.

A family without a sample is exposed as its HELP and TYPE alone: a measurement that did not happen is absent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar as ClientExemplar

from proxywatch.state.distribution import Distribution

Labels = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as the contract names it.

    Attributes:
        name: As exposed; a counter's ends in `_total`.
        kind: Its type.
        help: Constant; says what is measured, from which source, and when it is absent.
        labels: Label names besides `proxy_name`, which every series carries.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    def absent(self) -> Metric:
        """The family without a sample."""
        return self.values({})

    def value(self, value: float | None) -> Metric:
        """The family with its one sample, or without it when there is no value."""
        return self.values({} if value is None else {(): value})

    def values(self, values: Mapping[Labels, float]) -> Metric:
        """The family with a sample for each tuple of label values (a lone label's value may stand bare)."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        if self.kind == "histogram":
            return self.distributions({})
        family = kind(self.name, self.help, labels=self.labels)
        for labels, value in values.items():
            family.add_metric(_tuple(labels), value)
        return family

    def distribution(self, distribution: Distribution) -> Metric:
        """The histogram without labels."""
        return self.distributions({(): distribution})

    def distributions(self, distributions: Mapping[Labels, Distribution]) -> Metric:
        """The histogram with its buckets for each tuple of label values."""
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        for labels, distribution in distributions.items():
            family.add_metric(_tuple(labels), list(_buckets(distribution)), distribution.sum)
        return family


def gauge(name: str, help: str, labels: Sequence[str] = ()) -> Family:  # noqa: A002 - Prometheus's own word
    """Declare a gauge."""
    return Family(name, "gauge", help, tuple(labels))


def counter(name: str, help: str, labels: Sequence[str] = ()) -> Family:  # noqa: A002
    """Declare a counter; the name ends in `_total`."""
    return Family(name, "counter", help, tuple(labels))


def histogram(name: str, help: str, labels: Sequence[str] = ()) -> Family:  # noqa: A002
    """Declare a histogram; its buckets are those of the distributions handed to it."""
    return Family(name, "histogram", help, tuple(labels))


def _tuple(labels: Labels) -> tuple[str, ...]:
    return (labels,) if isinstance(labels, str) else labels


def _buckets(distribution: Distribution) -> Iterator[tuple[str, float] | tuple[str, float, ClientExemplar]]:
    for bound, count, exemplar in distribution.cumulative():
        if exemplar is None:
            yield _le(bound), count
        else:
            yield _le(bound), count, ClientExemplar(*exemplar)


def _le(bound: float) -> str:
    return "+Inf" if isinf(bound) else repr(float(bound))
