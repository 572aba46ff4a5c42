"""The registry as bytes: rendered once per change, in the formats and encodings that somebody asked for."""

import asyncio
import logging
import zlib
from functools import lru_cache
from typing import Literal

from proxywatch.metrics import formats
from proxywatch.metrics.family import Metric
from proxywatch.metrics.registry import Registry
from proxywatch.web.message import Response

log = logging.getLogger(__name__)

Format = Literal["text", "openmetrics"]
Names = frozenset[str] | None

_TYPES: dict[Format, str] = {
    "text": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
_LEVEL = 4
_MOST_BODIES = 32
_LEAST = 0.001  # the smallest weight but nothing


class Rendering:
    """All series as they were at one moment; bodies are put together when first asked for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._one = asyncio.Lock()
        self._pieces: dict[tuple[str, Format], bytes] = {}
        self._bodies: dict[tuple[Format, bool, Names], Response] = {}

    def ready(self, shape: Format, names: Names, *, gzip: bool) -> Response | None:
        """The response if it has been asked for before."""
        return self._bodies.get((shape, gzip, names))

    async def response(self, shape: Format, names: Names, *, gzip: bool) -> Response:
        """The response; one is made at a time, and after every family of it the loop turns."""
        async with self._one:
            ready = self.ready(shape, names, gzip=gzip)
            if ready is not None:
                return ready
            publishers = [publisher.name for publisher in self._registry.publishers]
            pieces = [await self._piece(name, shape) for name in publishers if names is None or name in names]
            if shape == "openmetrics":
                pieces.append(formats.EOF)
            response = _respond(b"".join(pieces), shape, gzip=gzip)
            if len(self._bodies) >= _MOST_BODIES:
                self._bodies.clear()
            self._bodies[shape, gzip, names] = response
            return response

    async def _piece(self, name: str, shape: Format) -> bytes:
        key = name, shape
        if key not in self._pieces:
            rendered = []
            for family in self._registry.collect({name}):
                rendered.append(_render(family, shape))
                await asyncio.sleep(0)
            self._pieces[key] = b"".join(rendered)
        return self._pieces[key]


def _render(family: Metric, shape: Format) -> bytes:
    """One family; nothing of it when it cannot be rendered, so that the others are there."""
    try:
        return formats.text(family) if shape == "text" else formats.openmetrics(family)
    except Exception:
        log.exception("render failed", extra={"family": family.name})
        return b""


def _respond(body: bytes, shape: Format, *, gzip: bool) -> Response:
    headers = {"vary": "accept, accept-encoding"}
    if gzip:
        body = compress(body)
        headers["content_encoding"] = "gzip"
    return Response.make(200, body, _TYPES[shape], **headers)


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
