"""What a collector is, and the registry that all of them publish into.

A collector is what Prometheus's client library calls one: `collect()` returns metric families, `describe()`
the same without samples. Ours are also updated by the runner, and come in two kinds. A reading one asks the
kernel when somebody wants to know: the runner calls `update()`. A watching one also has `due()`: it has a
task of its own that waits for `due()` and then updates.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Protocol, runtime_checkable

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as ClientCollector
from prometheus_client.registry import CollectorRegistry

from proxywatch.finding import Finding
from proxywatch.metrics.family import Family

log = logging.getLogger(__name__)

OTHER = "other"  # the name of those who have none


@runtime_checkable
class Publisher(ClientCollector, Protocol):
    """Whoever has series of its own.

    Attributes:
        name: One word; the value of the `collector` label and of `collect[]`.
    """

    name: str

    def describe(self) -> Sequence[Family]:
        """Every family that `collect()` may publish."""

    def collect(self) -> Iterable[Metric]:
        """Map the last snapshot to metric families; synchronous, no I/O."""


@runtime_checkable
class Collector(Publisher, Protocol):
    """What the runner, the exposition, `check` and the status page need of a collector.

    Attributes:
        timeout: The longest that one `update()` may take, in seconds.
    """

    timeout: float

    async def update(self) -> None:
        """Obtain the facts, and publish them as one frozen snapshot.

        Raises:
            NoData: All was read, and there was nothing to measure.
            SourceError: A source cannot be read.
            ParseError: A source does not follow its format.
        """

    async def examine(self) -> Sequence[Finding]:
        """Look at the machine as `update()` would, and say what is there, what is missing, how to fix it."""

    def status(self) -> msgspec.Struct | None:
        """The snapshot as the status page and the API show it; None before the first."""


@runtime_checkable
class Watching(Collector, Protocol):
    """A collector with a task of its own, because its facts happen over time."""

    async def due(self) -> None:
        """Return when the next `update()` is to be made."""


class Registry(CollectorRegistry):
    """The client library's registry, with constant labels on every series; survives a broken collector.

    Attributes:
        labels: The constant labels; a series' own label of the same name wins.
        collectors: Those that the runner updates, by name, in the order in which they were registered.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        super().__init__()
        self.labels = labels
        self.collectors: dict[str, Collector] = {}
        self._published: dict[ClientCollector, _Published] = {}

    def register(self, collector: ClientCollector) -> None:
        """Publish what a collector collects, and let the runner find it when it is to be updated.

        Raises:
            ValueError: Another collector has a series, or a name to be updated under, in common with it.
        """
        published = _Published(collector, self)
        if isinstance(collector, Collector) and collector.name in self.collectors:
            raise ValueError(f"there is a collector {collector.name} already")
        super().register(published)
        self._published[collector] = published
        if isinstance(collector, Collector):
            self.collectors[collector.name] = collector

    def unregister(self, collector: ClientCollector) -> None:
        """Publish a collector no longer."""
        super().unregister(self._published.pop(collector))
        if isinstance(collector, Collector):
            self.collectors.pop(collector.name, None)

    @property
    def names(self) -> list[str]:
        """By which `published` filters, in the order in which the collectors were registered."""
        return list(dict.fromkeys(published.name for published in self._published.values()))

    @property
    def registered(self) -> list[ClientCollector]:
        """In the order in which they were registered."""
        return list(self._published)

    def published(self, names: Collection[str] | None = None) -> Iterator[Metric]:
        """The families of all collectors, or of those named."""
        for published in list(self._published.values()):
            if names is None or published.name in names:
                yield from published.collect()

    def found(self, wanted: Mapping[str, Collection[str]]) -> Iterator[Metric]:
        """Some families, without the constant labels; no more is collected than it takes to find them.

        Args:
            wanted: The names of the families, as exposed, by collector.
        """
        for name, metrics in wanted.items():
            collector = self.collectors.get(name)
            left = {metric.removesuffix("_total") for metric in metrics}
            families = iter(collector.collect() if collector else ())
            while left and (family := _next(families, name)) is not None:
                if family.name in left:
                    left.discard(family.name)
                    yield family


class _Published:
    """A collector as the registry sees it: with labels, and without exceptions."""

    def __init__(self, collector: ClientCollector, registry: Registry) -> None:
        name = getattr(collector, "name", None)
        self.name = name if isinstance(name, str) else OTHER
        self._collector = collector
        self._registry = registry

    def describe(self) -> Iterable[Metric]:
        describe = getattr(self._collector, "describe", None)
        return describe() if describe else ()

    def collect(self) -> Iterable[Metric]:
        """The collector's families; none when it breaks, so that the others are there."""
        try:
            families = list(self._collector.collect())
        except Exception:
            log.exception("collect failed", extra={"collector": self.name})
            return []
        return [_labelled(family, dict(self._registry.labels)) for family in families]


def _next(families: Iterator[Metric], name: str) -> Metric | None:
    try:
        return next(families, None)
    except Exception:
        log.exception("collect failed", extra={"collector": name})
        return None


def _labelled(family: Metric, labels: dict[str, str]) -> Metric:
    """The family with the labels; a copy, as somebody else may keep the original."""
    labelled = copy(family)
    labelled.samples = [sample._replace(labels=labels | sample.labels) for sample in family.samples]
    return labelled
