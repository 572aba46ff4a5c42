"""The registry as bytes: in the formats and encodings that somebody asked for, rendered once per change."""

import asyncio
import logging
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from prometheus_client.metrics_core import Metric

from proxywatch.metrics import exposition
from proxywatch.metrics.registry import Registry

log = logging.getLogger(__name__)

Format = Literal["text", "openmetrics"]
Names = frozenset[str] | None

TYPES: dict[Format, str] = {"text": exposition.TEXT_TYPE, "openmetrics": exposition.OPENMETRICS_TYPE}
_WRITERS: dict[Format, Callable[[Metric], bytes]] = {
    "text": exposition.text,
    "openmetrics": exposition.openmetrics,
}
_LEVEL = 4
_LEAST = 0.001  # the smallest weight but nothing


class Rendering:
    """Renders a registry; a family that has not changed since it was last rendered is not rendered again."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._families: dict[tuple[str, Format], dict[str, tuple[Metric, bytes]]] = {}

    async def render(self, shape: Format, names: Names) -> bytes:
        """The body; after every family that is rendered the loop turns. To be called once at a time."""
        for key in [key for key in self._families if key[0] not in self._registry.names]:
            del self._families[key]
        wanted = [name for name in self._registry.names if names is None or name in names]
        pieces = [await self._piece(name, shape) for name in wanted]
        if shape == "openmetrics":
            pieces.append(exposition.EOF)
        return b"".join(pieces)

    async def _piece(self, name: str, shape: Format) -> bytes:
        """What is published under a name; what it was rendered from is kept, to be compared the next time."""
        before = self._families.get((name, shape), {})
        after = {}
        for family in self._registry.published({name}):
            known = before.get(family.name)
            if known is None or known[0] != family:
                known = family, _render(family, shape)
                await asyncio.sleep(0)
            after[family.name] = known
        self._families[name, shape] = after
        return b"".join([rendered for _, rendered in after.values()])


def _render(family: Metric, shape: Format) -> bytes:
    """One family; nothing of it when it cannot be rendered, so that the others are there."""
    try:
        return _WRITERS[shape](family)
    except Exception:
        log.exception("render failed", extra={"family": family.name})
        return b""


def compress(body: bytes) -> bytes:
    """Gzip, without a time in it."""
    return zlib.compress(body, _LEVEL, wbits=31)


@lru_cache(maxsize=64)
def negotiate(accept: str) -> Format:
    """The format that an Accept header prefers; text when it does not care."""
    weights = _weights(accept)
    openmetrics_weight = weights.get("application/openmetrics-text", 0.0)
    return (
        "openmetrics"
        if openmetrics_weight and openmetrics_weight >= weights.get("text/plain", 0.0)
        else "text"
    )


@lru_cache(maxsize=64)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip, and does not prefer the bytes as they are."""
    weights = _weights(accept_encoding)
    return weights.get("gzip", weights.get("*", 0.0)) >= max(weights.get("identity", 0.0), _LEAST)


def _weights(header: str) -> dict[str, float]:
    """The weight of each alternative; the highest when one is named repeatedly with other parameters."""
    weights: dict[str, float] = {}
    for alternative in header.split(","):
        name, *parameters = (part.strip().lower() for part in alternative.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                weight = _number(parameter[2:])
        weights[name] = max(weight, weights.get(name, 0.0))
    return weights


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
