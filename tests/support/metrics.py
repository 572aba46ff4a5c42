"""What a collector publishes, in a form that tests can compare."""

from collections.abc import Iterable
from typing import Protocol

from proxywatch.metrics.family import Metric


class Publisher(Protocol):
    """Whoever publishes."""

    def collect(self) -> Iterable[Metric]: ...


def samples(publisher: Publisher) -> dict[str, float]:
    """Each sample's value by `name{label=value,...}`."""
    found = {}
    for family in publisher.collect():
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
