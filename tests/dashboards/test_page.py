"""docs/dashboards.md says of every column, panel and alert what is so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboards.build import FILES, PLACE
from dashboards.panel import Json

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/dashboards.md").read_text()
DASHBOARDS = [json.loads((PLACE / name).read_text()) for name in FILES]
TABLE = next(panel for panel in DASHBOARDS[0]["panels"] if panel["type"] == "table")
OVERRIDES = {
    each["matcher"]["options"]: {part["id"]: part["value"] for part in each["properties"]}
    for each in TABLE["fieldConfig"]["overrides"]
}
OLDER_COLUMNS = (
    "Proxy Name",
    "VPN Status",
    "Success Rate %",
    "Latency (ms)",
    "Speed (Mbps)",
    "Active Connections",
    "Avg Conn Duration (s)",
)
OLDER_CHARTS = {"Connection latency": (200, 500, 1000), "Download speed": (5, 10, 20)}
"""With the values at which lines are drawn across."""


def row(first: str) -> list[str]:
    """The cells of the page's row that begins so."""
    found = re.search(rf"^\| {re.escape(first)} \|(.*)\|$", PAGE, re.MULTILINE)
    assert found, f"no row {first}"
    return [cell.strip() for cell in found[1].split("|")]


def column(first: str) -> str:
    """Where the page says that a column of the older dashboard is."""
    found = re.match(r"pool, table, \*([^*]+)\*", row(first)[0])
    assert found, first
    return found[1]


@pytest.mark.parametrize("older", OLDER_COLUMNS)
def test_a_column_of_the_older_dashboard_is_where_the_page_says(older: str) -> None:
    """In the table of the pool."""
    (organize,) = [t["options"] for t in TABLE["transformations"] if t["id"] == "organize"]
    assert column(older) in organize["renameByName"].values()
    assert column(older) in OVERRIDES


@pytest.mark.parametrize("older", ["Success Rate %", "Latency (ms)", "Speed (Mbps)"])
def test_a_scale_of_colours_is_the_one_of_the_page(older: str) -> None:
    """`99+ green, 95 yellow, ...` or `below 200 green, 500 yellow, ...`, step by step."""
    properties = OVERRIDES[column(older)]
    assert properties["custom.cellOptions"] == {"type": "color-text"}
    steps = [(step["value"], step["color"]) for step in properties["thresholds"]["steps"]]
    assert steps == _steps(row(older)[1])


def _steps(told: str) -> list[tuple[float | None, str]]:
    parts = [tuple(part.split()) for part in told.replace("+", "").split(", ")]
    if parts[0][0] == "below":  # from the best on upwards: each colour begins where the one before it ends
        bounds = [None, *(float(part[-2]) for part in parts[:-1])]
        return list(zip(bounds, [part[-1] for part in parts], strict=True))
    rising = [(float(part[0]) if part[0] != "below" else None, part[-1]) for part in parts]
    return rising[::-1]


def test_up_is_green_and_down_is_red_and_unknown_is_neither() -> None:
    """In the column and in the detail's number."""
    (mapping,) = OVERRIDES[column("VPN Status")]["mappings"]
    shown = {value: (each["text"], each["color"]) for value, each in mapping["options"].items()}
    assert shown == {"1": ("UP", "green"), "0": ("DOWN", "red"), "-1": ("NO DATA", "orange")}
    assert row("VPN Status")[1] == "UP green, DOWN red, NO DATA orange"


@pytest.mark.parametrize("title", OLDER_CHARTS)
def test_lines_are_drawn_where_users_know_them(title: str) -> None:
    """Dashed, across the chart."""
    panel = _panel(title)
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert tuple(step["value"] for step in steps if step["value"] is not None) == OLDER_CHARTS[title]
    assert panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"] == {"mode": "dashed"}
    assert str(OLDER_CHARTS[title])[1:-1] in PAGE


def _panel(title: str) -> Json:
    (found,) = [dict(panel) for panel in DASHBOARDS[0]["panels"] if panel["title"] == title]
    return found


def test_every_panel_that_the_page_names_is_there() -> None:
    """By its title, or as a column of the table, or as a variable."""
    titles = {panel["title"] for each in DASHBOARDS for panel in each["panels"]} | OVERRIDES.keys()
    titles |= {variable["label"] for each in DASHBOARDS for variable in each["templating"]["list"]}
    assert set(re.findall(r"(?<!\*)\*([A-Z][^*\n]+)\*", PAGE)) <= titles


def alerts() -> list[dict[str, Any]]:
    """All of them."""
    groups = yaml.safe_load((ROOT / "alerts/proxywatch.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_table_of_alerts_has_each_with_its_patience_and_severity() -> None:
    """One alert may have two severities, for its two windows."""
    for rule in alerts():
        _, patience, severity, _ = row(f"[{rule['alert']}](runbooks/{rule['alert']}.md)")
        assert patience == rule.get("for", "at once")
        assert rule["labels"]["severity"] in severity.split("; ")
    named = re.findall(r"^\| \[(\w+)\]\(runbooks/", PAGE, re.MULTILINE)
    assert sorted(named) == sorted({rule["alert"] for rule in alerts()})


def test_the_routing_that_the_page_proposes_is_about_our_alerts() -> None:
    """Valid YAML; a misspelt name would hold back nothing."""
    block = "\n".join(
        line[4:] for line in PAGE[PAGE.index("    inhibit_rules:") :].split("\n\n")[0].splitlines()
    )
    rules = yaml.safe_load(block)["inhibit_rules"]
    names = {name for rule in rules for name in re.findall(r"\bProxy\w+", str(rule))}
    assert names <= {rule["alert"] for rule in alerts()}
    assert all(rule["equal"] == ["proxy_name"] for rule in rules)
