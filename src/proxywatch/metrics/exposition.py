"""Families in the two formats that Prometheus reads, as its client library writes them."""

from collections.abc import Iterable

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics_format

TEXT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OPENMETRICS_TYPE = openmetrics_format.CONTENT_TYPE_LATEST
EOF = b"# EOF\n"


class _Alone:
    """One family, in the place of a registry."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def text(family: Metric) -> bytes:
    """One family in the text format, version 0.0.4."""
    return generate_latest(_Alone(family))


def openmetrics(family: Metric) -> bytes:
    """One family in OpenMetrics 1.0, without the `EOF` that ends all of them together."""
    body: bytes = openmetrics_format.generate_latest(_Alone(family))  # type: ignore[no-untyped-call]
    return body.removesuffix(EOF)
