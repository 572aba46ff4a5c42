"""The dashboards' JSON: fresh, as Grafana's types want it, and about metrics that exist."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from dashboards.build import FILES, PLACE, text
from dashboards.panel import Json

from support import promql
from support.metrics import declared

SCHEMA = json.loads((PLACE / "schema.json").read_text())
FAMILIES = declared()
OTHERS = {"ALERTS": {"alertstate", "alertname"}}
PARTS = ("_bucket", "_sum", "_count")

each = pytest.mark.parametrize("name", FILES)


def dashboard(name: str) -> Json:
    """As committed."""
    return dict(json.loads((PLACE / name).read_text()))


def panels(name: str) -> list[Json]:
    """Those that show something."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def queries(name: str) -> Iterator[tuple[str, str, str]]:
    """The title of the panel, the expression, the legend."""
    for panel in panels(name):
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


@each
def test_it_is_fresh(name: str) -> None:
    """`make dashboards` writes them anew."""
    assert (PLACE / name).read_text() == text(FILES[name])


def faults(document: Json) -> list[str]:
    """What Grafana's types have against a dashboard and the options of its panels."""
    shown = [panel for panel in document["panels"] if panel["type"] != "row"]
    told: list[Any] = []
    for panel in shown:
        kind = panel["type"]
        options = {kind: panel["options"]}
        custom = {kind: panel["fieldConfig"]["defaults"].get("custom", {})}
        told += jsonschema.Draft7Validator(
            SCHEMA | {"required": [], "properties": {part: _loose(part) for part in ("options", "custom")}}
        ).iter_errors({"options": options, "custom": custom})
    told += jsonschema.Draft7Validator(SCHEMA | {"required": []}).iter_errors({"dashboard": document})
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in told]


def _loose(part: str) -> Json:
    return dict(SCHEMA["properties"][part]) | {"required": []}


@each
def test_grafanas_own_types_have_nothing_against_it(name: str) -> None:
    """Including the options of each kind of panel."""
    assert faults(dashboard(name)) == []


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("panels", 0, "gridPos", "h"), "8"),
        (("panels", 0, "titel"), "x"),
        (("refresh",), 30),
        (("panels", 0, "options", "graphMode"), "aria"),
        (("panels", 0, "fieldConfig", "defaults", "thresholds", "mode"), "absolut"),
        (("templating", "list", 0, "type"), "source"),
    ],
)
def test_the_types_catch_mistakes(where: tuple[str | int, ...], wrong: object) -> None:
    """A misspelt key, a wrong type, an unknown word, in several depths."""
    document = dashboard("proxy-pool-dashboard.json")
    place: Any = document
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = wrong
    assert faults(document) != []


@each
def test_it_can_be_imported_and_provisioned(name: str) -> None:
    """No id of one installation, a stable uid, the data source a variable and nothing else."""
    document = dashboard(name)
    assert document["id"] is None
    assert re.fullmatch(r"proxywatch-\w+", document["uid"])
    assert "__inputs" not in document
    variables = {variable["name"]: variable for variable in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    used = set(re.findall(r'"uid": "([^"]+)"', (PLACE / name).read_text())) - {document["uid"]}
    assert used == {"${datasource}"}


@each
def test_panels_have_numbers_and_titles_of_their_own_and_do_not_overlap(name: str) -> None:
    """Within the 24 columns."""
    every = dashboard(name)["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in every}) == len(every)
    assert all(panel["description"] for panel in panels(name))
    places = [panel["gridPos"] for panel in every]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [pair for pair in combinations(places, 2) if _overlap(*pair)]


def _overlap(one: Json, other: Json) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@each
def test_every_query_is_of_the_chosen_proxies_and_parses(name: str) -> None:
    """By a parser that checks types; every series is narrowed by the variable."""
    for title, expr, _ in queries(name):
        taken = promql.series(promql.filled(expr))
        assert taken, title
        assert all("proxy_name" in labels for metric, labels, _ in taken if metric not in OTHERS), title
        assert "[5m]" not in expr, f"{title}: a fixed window where $__rate_interval belongs"


@each
def test_every_metric_is_one_that_the_exporter_describes(name: str) -> None:
    """With these labels, and increases of counters alone."""
    for title, expr, _ in queries(name):
        for metric, labels, counted in promql.series(promql.filled(expr)):
            if metric in OTHERS:
                assert labels <= OTHERS[metric]
                continue
            assert_described(metric, labels, counted=counted, where=title)


def assert_described(metric: str, labels: set[str], *, counted: bool, where: str) -> None:
    """Whether the code knows such a series."""
    base = next((metric.removesuffix(part) for part in PARTS if metric.endswith(part)), metric)
    family = FAMILIES.get(metric) or FAMILIES.get(base)
    assert family is not None, f"{where}: no metric {metric}"
    assert (family.type in ("histogram", "summary")) == (metric != family.exposed), (
        f"{where}: {metric} of a {family.type}"
    )
    assert counted == (family.type != "gauge"), f"{where}: {metric} is a {family.type}"
    assert labels - {"proxy_name", "le"} <= set(family.labels), f"{where}: {metric} has {family.labels}"


def test_every_metric_of_the_contract_is_shown_somewhere() -> None:
    """Those that users' older dashboards have."""
    contract = (Path(__file__).parents[1] / "fixtures/contract.md").read_text()
    wanted = set(re.findall(r"^\| (\w+) \| (?:gauge|counter) \|", contract, re.MULTILINE))
    shown = {
        metric
        for name in FILES
        for _, expr, _ in queries(name)
        for metric, _, _ in promql.series(promql.filled(expr))
    }
    assert wanted - shown - {"proxy_bytes_transferred_total"} == set(), "the device's two counters show those"
