"""The status page's files, read once, ready to be written."""

import os
from typing import Self

from proxywatch.metrics.rendering import accepts_gzip, compress
from proxywatch.source import file
from proxywatch.web.message import HttpRequest, Response

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_LARGEST = 1 << 20


class Assets:
    """By path and encoding."""

    def __init__(self, responses: dict[tuple[str, bool], Response]) -> None:
        self._responses = responses

    @classmethod
    def load(cls) -> Self:
        """Read them from the package."""
        # Not importlib.resources, which brings 1.5 MB to read four files that lie beside this one.
        folder = os.path.dirname(__file__)  # noqa: PTH120
        responses = {}
        for path, (name, kind) in _FILES.items():
            body = file.read(os.path.join(folder, name), _LARGEST)  # noqa: PTH118
            responses[path, False] = Response.make(200, body, kind, **_HEADERS)
            headers = _HEADERS | {"content-encoding": "gzip"}
            responses[path, True] = Response.make(200, compress(body), kind, **headers)
        return cls(responses)

    def __contains__(self, path: str) -> bool:
        return (path, False) in self._responses

    def get(self, request: HttpRequest) -> Response:
        """Return the file of a path that there is."""
        return self._responses[request.path, accepts_gzip(request.header(b"accept-encoding"))]
