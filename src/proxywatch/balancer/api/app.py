"""The HTTP application: the API, the page, the metrics, and how errors are answered."""

import logging
from typing import Any

from litestar import Litestar, MediaType, Response, get
from litestar import Request as HttpRequest
from litestar.config.response_cache import ResponseCacheConfig
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from proxywatch import __version__
from proxywatch.balancer.api.guard import BODY, BodyTooLongError
from proxywatch.balancer.api.measures import ROUTERS as MEASURES
from proxywatch.balancer.api.routes import ROUTERS, Running
from proxywatch.balancer.control import Control, NoNodeError, UnknownError
from proxywatch.balancer.documents import SdGroup
from proxywatch.balancer.facts.speed import SpentError
from proxywatch.balancer.measures import Measures
from proxywatch.balancer.page.assets import page_routes
from proxywatch.errors import ConfigError, ParseError
from proxywatch.metrics.registry import Registry
from proxywatch.metrics.rendering import TYPES, Rendering, accepts_gzip, compress, negotiate

log = logging.getLogger(__name__)


def build(control: Control, registry: Registry, measures: Measures | None = None) -> Litestar:
    """The application, unguarded."""
    more = {"measures": Provide(lambda: measures, sync_to_thread=False)} if measures is not None else {}
    return Litestar(
        route_handlers=[
            *ROUTERS,
            *(MEASURES if measures is not None else ()),
            _metrics(registry),
            _service_discovery,
            _openapi,
            *page_routes(),
        ],
        dependencies={"control": Provide(lambda: control, sync_to_thread=False), **more},
        exception_handlers={
            HTTPException: _http_problem,
            UnknownError: _problem(404),
            NoNodeError: _problem(404),
            SpentError: _problem(429),
            ParseError: _problem(422),
            ConfigError: _problem(422),
            BodyTooLongError: _too_long,
            Exception: _internal,
        },
        openapi_config=OpenAPIConfig(
            title="proxywatch balancer",
            version=__version__,
            description="What the pool is, what was chosen and why, and what operators may change.",
            path="/openapi",
            render_plugins=[JsonRenderPlugin(path="/document.json")],
            components=Components(
                security_schemes={
                    "basic": SecurityScheme(type="http", scheme="basic"),
                    "bearer": SecurityScheme(type="http", scheme="bearer"),
                }
            ),
            security=[{"basic": []}, {"bearer": []}],
        ),
        response_cache_config=ResponseCacheConfig(default_expiration=None),
        logging_config=None,
        request_max_body_size=BODY,
    )


def _metrics(registry: Registry) -> Any:  # noqa: ANN401 - the framework's handler
    rendering = Rendering(registry)

    @get("/metrics", include_in_schema=False)
    async def metrics(request: HttpRequest[Any, Any, Any]) -> Response[bytes]:
        shape = negotiate(request.headers.get("accept", ""))
        body = await rendering.render(shape, None)
        headers = {"vary": "accept, accept-encoding"}
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            body = compress(body)
            headers["content-encoding"] = "gzip"
        return Response(body, media_type=TYPES[shape], headers=headers)

    return metrics


@get(
    "/sd",
    tags=["pool"],
    summary="The sidecars, for Prometheus's HTTP service discovery",
    sync_to_thread=False,
)
def _service_discovery(control: Running) -> list[SdGroup]:
    return control.service_discovery()


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def _openapi(request: HttpRequest[Any, Any, Any]) -> dict[str, Any]:
    return request.app.openapi_schema.to_schema()


# Errors


def _detail(status: int, detail: str, **headers: str) -> Response[dict[str, str]]:
    return Response({"detail": detail}, status_code=status, media_type=MediaType.JSON, headers=headers)


def _problem(status: int) -> Any:  # noqa: ANN401 - the framework's handler
    def problem(_: HttpRequest[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
        return _detail(status, str(error))

    return problem


def _http_problem(_: HttpRequest[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    extra = error.extra if isinstance(error.extra, list) else []
    places = "; ".join(
        f"{it.get('key', 'body')}: {it.get('message', '')}" for it in extra if isinstance(it, dict)
    )
    status = 422 if extra and error.status_code == 400 else error.status_code  # noqa: PLR2004
    return _detail(status, places or error.detail, **(error.headers or {}))


def _too_long(_: HttpRequest[Any, Any, Any], __: BodyTooLongError) -> Response[dict[str, str]]:
    return _detail(413, f"a body of more than {BODY} bytes")


def _internal(request: HttpRequest[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    log.error("request failed", extra={"path": request.url.path}, exc_info=error)
    return _detail(500, "an error of this server")
