"""Collectors that publish what a test tells them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from proxywatch.distribution import Distribution
from proxywatch.finding import Finding
from proxywatch.metrics.family import Family, Labels, Metric


class Told(msgspec.Struct, frozen=True):
    """A status of any content."""

    content: Any = None


class Plain:
    """A collector as Prometheus's client library knows them: no name, no description."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self.families


class Puppet:
    """A reading collector whose families and failures are set from outside."""

    timeout = 5.0

    def __init__(
        self, name: str, families: Mapping[Family, Any], status: msgspec.Struct | None = None
    ) -> None:
        self.name = name
        self.families = dict(families)
        self.told = status
        self.error: Exception | None = None
        self.updates = 0

    def describe(self) -> Sequence[Family]:
        return tuple(self.families)

    async def update(self) -> None:
        self.updates += 1
        if self.error is not None:
            raise self.error

    def collect(self) -> Iterable[Metric]:
        for family, content in self.families.items():
            yield _metric(family, content)

    async def examine(self) -> Sequence[Finding]:
        return ()

    def status(self) -> msgspec.Struct | None:
        return self.told


def _metric(family: Family, content: float | Mapping[Labels, float] | Distribution | None) -> Metric:
    if isinstance(content, Distribution):
        return family.distribution(content)
    return family.values(content) if isinstance(content, Mapping) else family.value(content)
