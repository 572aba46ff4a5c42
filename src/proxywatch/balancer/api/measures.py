"""The API's routes about measurements: speed tests, what is known now, forecasts and reports."""

from typing import Annotated

from litestar import MediaType, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter, SkipValidation

from proxywatch.balancer.facts.speed import SpeedResult
from proxywatch.balancer.history.report import Report, markdown
from proxywatch.balancer.measures import (
    Measures,
    MetricsNow,
    NodeSpeeds,
    Prediction,
    Queued,
    SpeedSummary,
)

Measured = NamedDependency[SkipValidation[Measures]]
Word = Annotated[str, PathParameter(max_length=128)]
Country = Annotated[str, PathParameter(max_length=32, description="Country code; `uk` is taken for `gb`.")]
Ahead = Annotated[int, QueryParameter(name="hours", ge=1, le=168, description="How many hours to predict.")]
Period = Annotated[int, QueryParameter(name="hours", ge=1, le=24, description="Of the last how many hours.")]


@post("/run-all", summary="Test every node", status_code=202, sync_to_thread=False)
def run_all(measures: Measured) -> Queued:
    """One after the other, as far as the budget goes; 429 when it is spent."""
    return measures.test_all()


@post(["/node/{node:str}", "/{node:str}"], summary="Test a node", status_code=202, sync_to_thread=False)
def run_one(measures: Measured, node: Word) -> Queued:
    """When its turn comes; 429 when the budget is spent."""
    return measures.test(node)


@get("/summary", summary="All speed tests", sync_to_thread=False)
def summary(measures: Measured) -> SpeedSummary:
    """With the last result of each node, and what is left of the budget."""
    return measures.summary()


@get("/results", summary="The results of the last 24 hours", sync_to_thread=False)
def results(measures: Measured) -> list[SpeedResult]:
    """The newest first."""
    return measures.results()


@get("/results/{node:str}", summary="The results of a node", sync_to_thread=False)
def results_of(measures: Measured, node: Word) -> NodeSpeeds:
    """The last one, and those of the last 24 hours."""
    return measures.results_of(node)


@get("/current", summary="All measurements now", sync_to_thread=False)
def current(measures: Measured) -> MetricsNow:
    """With their ages; null for what is not known."""
    return measures.current()


@get("/prediction/{country:str}", summary="The load of the hours to come")
async def prediction(measures: Measured, country: Country, ahead: Ahead = 1) -> Prediction:
    """By what is usual at that hour, and how today differs; `insufficient_data` before there is a day of it."""
    return await measures.prediction(country, ahead)


@get("/reports", summary="The report of the last hours")
async def reports(measures: Measured, period: Period = 24) -> Report:
    """Numbers by country, trends by node, and what to do."""
    return await measures.report(period)


@get("/reports.md", summary="The same as Markdown", media_type=MediaType.TEXT)
async def reports_as_text(measures: Measured, period: Period = 24) -> Response[str]:
    """For people."""
    return Response(markdown(await measures.report(period)), media_type="text/markdown; charset=utf-8")


@get("/reports.html", summary="The same as a page with plots", media_type=MediaType.HTML)
async def reports_as_page(measures: Measured, period: Period = 24) -> Response[str]:
    """Without scripts, to be kept or sent."""
    policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(await measures.report_page(period), media_type="text/html; charset=utf-8", headers=policy)


ROUTERS = [
    Router(
        "/api/speed-test",
        route_handlers=[run_all, run_one, summary, results, results_of],
        tags=["speed tests"],
    ),
    Router("/api/metrics", route_handlers=[current], tags=["measurements"]),
    Router("/api/load-balancer", route_handlers=[prediction], tags=["load balancer"]),
    Router("/api", route_handlers=[reports, reports_as_text, reports_as_page], tags=["measurements"]),
]
