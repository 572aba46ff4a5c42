"""The API's routes; each is a question to, or a change of, the running balancer."""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Request as HttpRequest
from litestar import Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter, SkipValidation

from proxywatch.balancer.control import Control
from proxywatch.balancer.discovery.sources import SourceState
from proxywatch.balancer.documents import (
    Assignment,
    AssignRequest,
    BestNode,
    CountryInfo,
    CountryStrategy,
    DecisionText,
    Done,
    DrainRequest,
    FactsPosted,
    LeaseDocument,
    NodeDocument,
    Stats,
    StrategyChange,
    StrategyChoice,
    StrategyList,
)

Running = NamedDependency[SkipValidation[Control]]
Flag = FromQuery[bool]
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many at the most.")]
_CODE = "Country code; `uk` is taken for `gb`."
Country = Annotated[str, PathParameter(max_length=32, description=_CODE)]
OfCountry = Annotated[str, QueryParameter(name="country", max_length=32, description=_CODE)]
State = Annotated[
    str, QueryParameter(name="state", max_length=32, description="Of the nodes, `ready` for example.")
]
Word = Annotated[str, PathParameter(max_length=128)]
OfNode = Annotated[str, QueryParameter(name="node", max_length=128, description="Id of a node.")]


# The load balancer


@get("/stats", summary="Statistics of the pool", sync_to_thread=False)
def stats(control: Running) -> Stats:
    """Nodes, connections and scores by country."""
    return control.stats()


@get("/best-node/{country:str}", summary="A country's best node", sync_to_thread=False)
def best_node(
    control: Running, country: Country, *, strict: FromQuery[bool] = False, advance: FromQuery[bool] = False
) -> BestNode:
    """The preferred node after hysteresis. `strict` gives the highest score alone; `advance` counts it as a pick."""
    return control.best_node(country, strict=strict, advance=advance)


@get("/strategies", summary="All strategies", sync_to_thread=False)
def strategies(control: Running) -> StrategyList:
    """Name and description of each strategy."""
    return StrategyList(control.strategies())


@get("/strategy", summary="The strategies in force", sync_to_thread=False)
def strategy(control: Running) -> StrategyChoice:
    """The default, and the countries with one of their own."""
    return control.strategy()


@post("/strategy", summary="Change the default strategy", status_code=200, sync_to_thread=False)
def set_strategy(control: Running, data: JSONBody[StrategyChange]) -> StrategyChoice:
    """For every country without one of its own."""
    control.set_strategy(data.strategy)
    return control.strategy()


@put("/strategy/{country:str}", summary="Change a country's strategy", sync_to_thread=False)
def set_country_strategy(
    control: Running, country: Country, data: JSONBody[StrategyChange]
) -> CountryStrategy:
    """From the next request on."""
    control.set_strategy(data.strategy, country)
    return CountryStrategy(country, data.strategy)


@post("/assign", summary="Lease a node to a client that dials itself", status_code=200, sync_to_thread=False)
def assign(
    control: Running, data: JSONBody[AssignRequest], request: HttpRequest[Any, Any, Any]
) -> Assignment:
    """The node counts one connection in flight until the lease is ended."""
    client = request.client
    return control.assign(data, client.host if client else "")


@get("/leases", summary="All leases", sync_to_thread=False)
def leases(control: Running) -> list[LeaseDocument]:
    """Sessions, users and clients that stay on a node, the longest idle first."""
    return control.leases()


@delete("/leases/{lease:str}", summary="End a lease", status_code=200, sync_to_thread=False)
def release(control: Running, lease: Word) -> Done:
    """The next request of its session may go elsewhere."""
    control.release(lease)
    return Done("released", lease)


@get("/decisions", summary="The last decisions", sync_to_thread=False)
def decisions(
    control: Running, limit: Limit = 50, country: OfCountry = "", node: OfNode = ""
) -> list[dict[str, Any]]:
    """The newest first, each with the candidates that were compared."""
    return control.decisions(limit, country, node)


@get("/decisions/{decision:str}", summary="A decision explained", sync_to_thread=False)
def decision(control: Running, decision: Word) -> DecisionText:
    """The record, and the same in words."""
    return control.decision(decision)


# Nodes


@get(["/", "/list"], summary="All nodes", sync_to_thread=False)
def nodes(control: Running, country: OfCountry = "", standing: State = "") -> list[NodeDocument]:
    """With facts, factors of the score and state; all of them, or those of a country or in a state."""
    return control.nodes(country, standing)


@get("/{node:str}", summary="A node", sync_to_thread=False)
def node(control: Running, node: Word) -> NodeDocument:
    """With facts, factors of the score and state."""
    return control.node(node)


@post("/{node:str}/drain", summary="Drain a node", status_code=200, sync_to_thread=False)
def drain(control: Running, node: Word, data: JSONBody[DrainRequest | None] = None) -> Done:
    """No new requests but those of its leases, until the deadline."""
    wanted = data or DrainRequest()
    control.drain(node, wanted.deadline, wanted.reason)
    return Done("draining", node)


@post("/{node:str}/ready", summary="Call a drain off", status_code=200, sync_to_thread=False)
def ready(control: Running, node: Word) -> Done:
    """The node serves again, slowly at first."""
    control.ready(node)
    return Done("ready", node)


@post("/{node:str}/facts", summary="Post facts about a node", status_code=200, sync_to_thread=False)
def facts(control: Running, node: Word, data: JSONBody[dict[str, float | bool | str]]) -> FactsPosted:
    """They win over collected facts of the same name until they are stale."""
    return FactsPosted(node, control.post_facts(node, data))


# The rest


@get("/countries", summary="All countries", sync_to_thread=False)
def countries(control: Running) -> list[CountryInfo]:
    """With their nodes, strategy and preferred node."""
    return control.countries()


@get("/discovery", summary="The sources of nodes", sync_to_thread=False)
def discovery(control: Running) -> dict[str, SourceState]:
    """How many nodes each has, and what is wrong with it."""
    return control.discovery()


@get("/config", summary="The settings in force", sync_to_thread=False)
def config(control: Running) -> Mapping[str, Any]:
    """By section, without secrets."""
    return control.settings()


ROUTERS = [
    Router(
        "/api/load-balancer",
        route_handlers=[
            stats,
            best_node,
            strategies,
            strategy,
            set_strategy,
            set_country_strategy,
            assign,
            leases,
            release,
            decisions,
            decision,
        ],
        tags=["load balancer"],
    ),
    Router("/api/nodes", route_handlers=[nodes, node, drain, ready, facts], tags=["nodes"]),
    Router("/api", route_handlers=[countries, discovery, config], tags=["pool"]),
]
