"""What collectors declare and publish, in a form that tests can compare."""

from prometheus_client.registry import Collector

from proxywatch.exporter import daemon
from proxywatch.metrics.family import Family, Sample


def declared() -> dict[str, Family]:
    """Every metric of the exporter, by the name that queries use."""
    return {
        family.exposed: family for publisher in daemon.every_publisher() for family in publisher.describe()
    }


def samples(collector: Collector) -> dict[str, float]:
    """Each sample's value by `name{label="value",...}`, as the exposition has it; no buckets."""
    return {
        _series(sample): sample.value
        for family in collector.collect()
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def labelled(collector: Collector, name: str) -> dict[str, float]:
    """Each sample's value of a metric with one label, by its value."""
    return {
        value: sample.value
        for family in collector.collect()
        for sample in family.samples
        for value in sample.labels.values()
        if sample.name == name
    }


def _series(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}" if labels else sample.name
