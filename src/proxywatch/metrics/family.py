"""Declarations of metrics, one constant each, used by describe(), collect() and the reference; their samples.

A family without a sample is exposed as its HELP and TYPE alone: a measurement that did not happen is absent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isinf
from typing import Literal, NamedTuple

from proxywatch.distribution import Distribution, Exemplar

Kind = Literal["gauge", "counter", "histogram"]
Labels = str | tuple[str, ...]


class Sample(NamedTuple):
    """One series at one moment: its name (a histogram's with the suffix), labels, value, exemplar."""

    name: str
    labels: dict[str, str]
    value: float
    exemplar: Exemplar | None = None


@dataclass(slots=True)
class Metric:
    """A family with its samples, ready to be written.

    Attributes:
        name, kind, help: The family's.
        samples: In the order in which they are exposed.
    """

    name: str
    kind: Kind
    help: str
    samples: list[Sample] = field(default_factory=list)


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
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names that nobody else may use: of its series, and of the family in either format."""
        if self.kind == "histogram":
            return (self.name, f"{self.name}_bucket", f"{self.name}_count", f"{self.name}_sum")
        return tuple({self.name, self.name.removesuffix("_total")})

    def absent(self) -> Metric:
        """The family without a sample."""
        return self.values({})

    def value(self, value: float | None) -> Metric:
        """The family with its one sample, or without it when there is no value."""
        return self.values({} if value is None else {(): value})

    def values(self, values: Mapping[Labels, float]) -> Metric:
        """The family with a sample for each tuple of label values (a lone label's value may stand bare)."""
        samples = [Sample(self.name, self._labels(labels), float(value)) for labels, value in values.items()]
        return Metric(self.name, self.kind, self.help, samples)

    def distribution(self, distribution: Distribution) -> Metric:
        """The histogram without labels."""
        return self.distributions({(): distribution})

    def distributions(self, distributions: Mapping[Labels, Distribution]) -> Metric:
        """The histogram with its buckets for each tuple of label values."""
        samples = [
            sample
            for labels, distribution in distributions.items()
            for sample in _samples(self.name, self._labels(labels), distribution)
        ]
        return Metric(self.name, self.kind, self.help, samples)

    def _labels(self, labels: Labels) -> dict[str, str]:
        values = (labels,) if isinstance(labels, str) else labels
        return dict(zip(self.labels, map(str, values), strict=True))


def gauge(name: str, help: str, labels: Sequence[str] = ()) -> Family:  # noqa: A002 - Prometheus's own word
    """Declare a gauge."""
    return Family(name, "gauge", help, tuple(labels))


def counter(name: str, help: str, labels: Sequence[str] = ()) -> Family:  # noqa: A002
    """Declare a counter; the name ends in `_total`."""
    return Family(name, "counter", help, tuple(labels))


def histogram(name: str, help: str, labels: Sequence[str] = ()) -> Family:  # noqa: A002
    """Declare a histogram; its buckets are those of the distributions handed to it."""
    return Family(name, "histogram", help, tuple(labels))


def _samples(name: str, labels: dict[str, str], distribution: Distribution) -> Iterator[Sample]:
    count = 0
    for bound, count, exemplar in distribution.cumulative():
        yield Sample(f"{name}_bucket", {**labels, "le": _le(bound)}, float(count), exemplar)
    yield Sample(f"{name}_count", labels, float(count))
    yield Sample(f"{name}_sum", labels, distribution.sum)


def _le(bound: float) -> str:
    return "+Inf" if isinf(bound) else repr(float(bound))
