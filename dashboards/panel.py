"""What a dashboard is made of, as far as ours need it: typed pieces, each of which gives Grafana's JSON.

The pieces are our own and few; whether their JSON is right is judged by `schema.json`, which is generated
from the types that Grafana publishes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

Json = dict[str, Any]
Colour = Literal["green", "yellow", "orange", "red", "blue", "purple", "text", "transparent"]
Scale = tuple[tuple[float | None, Colour], ...]
"""From which value on which colour holds; the first step's None is minus infinity."""
Kind = Literal["heatmap", "stat", "state-timeline", "table", "timeseries"]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
_TALL = 9
"""Rows in which a chart has room for three lines of legend."""
_TOOLTIP = {"mode": "multi", "sort": "desc"}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression.

    Attributes:
        expr: It; may use $proxy, $__rate_interval and $__range.
        legend: With {{label}} for the value of a label.
        format: How the panel takes the answer.
        instant: Whether only the end of the time range is asked for.
    """

    expr: str
    legend: str = ""
    format: Literal["time_series", "table", "heatmap"] = "time_series"
    instant: bool = False

    def json(self, letter: str) -> Json:
        """A target of a panel."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": self.format,
            "instant": self.instant,
            "legendFormat": self.legend or "__auto",
            "range": not self.instant,
            "refId": letter,
        }


@dataclass(frozen=True, slots=True)
class Override:
    """How a series or column differs from the others.

    Attributes:
        name: Its name.
        properties: What is set, by Grafana's identifiers such as `unit` or `custom.width`.
    """

    name: str
    properties: Json

    def json(self) -> Json:
        """An entry of a panel's overrides."""
        return {
            "matcher": {"id": "byName", "options": self.name},
            "properties": [{"id": key, "value": value} for key, value in self.properties.items()],
        }


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: Unique in its dashboard.
        kind: Which of Grafana's panels draws it.
        description: What is seen, for the little i.
        queries: What it asks.
        width: In columns of 24.
        height: In rows of some 38 pixels.
        defaults: For all its fields: unit, decimals, thresholds, mappings, custom ...
        options: Its own options.
        overrides: For some of its fields.
        transformations: What is done to the answers before they are drawn.
    """

    title: str
    kind: Kind
    description: str
    queries: tuple[Query, ...]
    width: int
    height: int
    defaults: Json
    options: Json
    overrides: tuple[Override, ...] = ()
    transformations: tuple[Json, ...] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        """An entry of a dashboard's panels."""
        letters = (chr(ord("A") + place) for place in count())
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [query.json(letter) for query, letter in zip(self.queries, letters, strict=False)],
            "fieldConfig": {
                "defaults": self.defaults,
                "overrides": [override.json() for override in self.overrides],
            },
            "options": self.options,
            "transformations": list(self.transformations),
        }


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading; they flow from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard.

    Attributes:
        uid: By which links find it; never changes.
        title: Its name.
        description: What it is for.
        many: Whether several proxies are looked at together.
        sections: From top to bottom.
    """

    uid: str
    title: str
    description: str
    many: bool
    sections: tuple[Section, ...]

    def json(self) -> Json:
        """The whole."""
        return {
            "id": None,
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["proxywatch"],
            "schemaVersion": 39,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "browser",
            "links": [_LINK],
            "templating": {"list": [_DATASOURCE_VARIABLE, _proxy_variable(many=self.many)]},
            "annotations": {"list": []},
            "panels": list(_placed(self.sections)),
        }


def scale(steps: Scale) -> Json:
    """Thresholds in Grafana's words."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def names(table: Iterable[tuple[int, str, Colour]]) -> list[Json]:
    """Values that have a name and a colour instead of a number."""
    options = {str(value): {"text": text, "color": colour, "index": value} for value, text, colour in table}
    return [{"type": "value", "options": options}]


def chart(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    width: int = 12,
    height: int = _TALL,
    lines: Scale = (),
    stacked: bool = False,
    bars: bool = False,
    overrides: Sequence[Override] = (),
    **defaults: object,
) -> Panel:
    """Lines over time; `lines` are drawn across as thresholds."""
    custom: Json = {
        "drawStyle": "bars" if bars else "line",
        "lineWidth": 0 if bars else 1,
        "fillOpacity": 80 if bars else 30 if stacked else 8,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if lines else "off"},
    }
    thresholds = {"thresholds": scale(lines)} if lines else {}
    legend = {
        "calcs": ["mean", "lastNotNull"],
        "displayMode": "table",
        "placement": "bottom",
        "showLegend": True,
    }
    fields: Json = {
        "unit": unit,
        "custom": custom,
        "color": {"mode": "palette-classic"},
        **thresholds,
        **defaults,
    }
    options: Json = {"legend": legend, "tooltip": _TOOLTIP}
    return Panel(title, "timeseries", description, queries, width, height, fields, options, tuple(overrides))


def stat(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str = "short",
    steps: Scale = ((None, "text"),),
    width: int = 4,
    graph: bool = True,
    name: bool = False,
    **defaults: object,
) -> Panel:
    """One big number, with its course behind it; or, with `name`, the name of its series."""
    options: Json = {
        "colorMode": "value",
        "graphMode": "area" if graph else "none",
        "textMode": "name" if name else "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "values": False, "fields": ""},
    }
    fields: Json = {"unit": unit, "thresholds": scale(steps), "color": {"mode": "thresholds"}, **defaults}
    return Panel(title, "stat", description, (query,), width, 4, fields, options)


def timeline(
    title: str,
    description: str,
    query: Query,
    mappings: list[Json],
    *,
    width: int = 12,
    height: int = _TALL,
) -> Panel:
    """A bar per series whose colour is its state."""
    options: Json = {
        "mergeValues": True,
        "showValue": "never",
        "rowHeight": 0.8,
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    fields: Json = {
        "mappings": mappings,
        "color": {"mode": "thresholds"},
        "thresholds": scale(((None, "text"),)),
        "custom": {"fillOpacity": 75, "lineWidth": 0},
    }
    return Panel(title, "state-timeline", description, (query,), width, height, fields, options)


def heat_map(title: str, description: str, buckets: str, *, width: int = 12, height: int = _TALL) -> Panel:
    """How many observations fell into which bucket of a histogram in seconds; `buckets` has the label le."""
    options: Json = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "fill": "dark-orange",
                  "reverse": False, "scale": "exponential", "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "unit": "s"},
    }  # fmt: skip
    query = Query(buckets, "{{le}}", format="heatmap")
    return Panel(title, "heatmap", description, (query,), width, height, {"custom": {}}, options)


_LINK = {
    "type": "dashboards",
    "title": "Proxies",
    "tags": ["proxywatch"],
    "asDropdown": False,
    "icon": "external link",
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "tooltip": "",
    "url": "",
}
_DATASOURCE_VARIABLE = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "query": "prometheus",
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "refresh": 1,
    "regex": "",
    "skipUrlSync": False,
}


def _proxy_variable(*, many: bool) -> Json:
    every = {"allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}}
    return {
        "type": "query",
        "name": "proxy",
        "label": "Proxy",
        "datasource": DATASOURCE,
        "query": {"query": "label_values(proxy_info, proxy_name)", "refId": "proxy"},
        "hide": 0,
        "includeAll": many,
        "multi": many,
        "options": [],
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
    } | (every if many else {})


def _placed(sections: Iterable[Section]) -> Iterator[Json]:
    numbers, y = count(1), 0
    for section in sections:
        if section.title:
            yield _heading(section.title, next(numbers), y)
            y += 1
        x = tallest = 0
        for panel in section.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            yield panel.json(next(numbers), x, y)
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _heading(title: str, number: int, y: int) -> Json:
    place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
