"""What a collector is, and the registry that all of them publish into.

A collector comes in two kinds. A reading one asks the kernel when somebody wants to know: the runner calls
`update()`. A watching one also has `due()`: it has a task of its own that waits for `due()` and then updates.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from proxywatch.finding import Finding
from proxywatch.metrics.family import Family, Metric, Sample

log = logging.getLogger(__name__)


class Publisher(Protocol):
    """Whoever has series of its own.

    Attributes:
        name: One word; the value of the `collector` label and of `collect[]`.
    """

    name: str

    def describe(self) -> Sequence[Family]:
        """Every family that `collect()` may publish."""

    def collect(self) -> Iterable[Metric]:
        """Map the last snapshot to metric families; synchronous, no I/O."""


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
        """Look at the machine as `update()` would, and say what is there, what is missing, how to mend it."""

    def status(self) -> msgspec.Struct | None:
        """The snapshot as the status page and the API show it; None before the first."""


@runtime_checkable
class Watching(Collector, Protocol):
    """A collector with a task of its own, because its facts happen over time."""

    async def due(self) -> None:
        """Return when the next `update()` is to be made."""


class Registry:
    """All collectors, published with constant labels on every series.

    Attributes:
        labels: The constant labels, which precede a series' own.
        collectors: By name, in the order in which they were added.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.collectors: dict[str, Collector] = {}
        self._published: dict[str, Publisher] = {}

    def add(self, collector: Collector) -> None:
        """Publish a collector, and let the runner find it."""
        self.publish(collector)
        self.collectors[collector.name] = collector

    def publish(self, publisher: Publisher) -> None:
        """Publish series; a metric name that another publisher has already is refused with ValueError."""
        taken = {name for other in self.publishers for family in other.describe() for name in family.series}
        for name in (name for family in publisher.describe() for name in family.series):
            if name in taken:
                raise ValueError(f"{publisher.name}: {name} is published already")
            taken.add(name)
        self._published[publisher.name] = publisher

    def remove(self, name: str) -> None:
        """Publish a collector no longer."""
        self._published.pop(name)
        self.collectors.pop(name, None)

    @property
    def publishers(self) -> list[Publisher]:
        """In the order in which they were added."""
        return list(self._published.values())

    def collect(self, names: Collection[str] | None = None) -> Iterator[Metric]:
        """The families of all publishers, or of those named."""
        labels = dict(self.labels)
        for publisher in self.publishers:
            if names is None or publisher.name in names:
                yield from _published(publisher, labels)


def _published(publisher: Publisher, labels: dict[str, str]) -> list[Metric]:
    """A publisher's families; none when it breaks, so that the others are there."""
    try:
        families = list(publisher.collect())
    except Exception:
        log.exception("collect failed", extra={"collector": publisher.name})
        return []
    for family in families:
        family.samples = [_labelled(sample, labels) for sample in family.samples]
    return families


def _labelled(sample: Sample, labels: dict[str, str]) -> Sample:
    return Sample(sample.name, labels | sample.labels, sample.value, sample.exemplar)
