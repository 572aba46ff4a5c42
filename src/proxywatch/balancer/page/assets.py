"""The page's files, as routes of the application."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from litestar import MediaType, Response, get

_FOLDER = Path(__file__).parent
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
}
_FILES = {
    "/": ("index.html", MediaType.HTML),
    "/page.css": ("page.css", MediaType.CSS),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def page_routes() -> Sequence[Any]:
    """A handler for each file; the files are read once."""
    return [_route(path, name, kind) for path, (name, kind) in _FILES.items()]


def _route(path: str, name: str, kind: str) -> Any:  # noqa: ANN401 - the framework's handler
    body = (_FOLDER / name).read_bytes()

    @get(path, include_in_schema=False, sync_to_thread=False)
    def serve() -> Response[bytes]:
        return Response(body, media_type=kind, headers=_HEADERS)

    return serve
