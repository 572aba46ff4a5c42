"""The pool: a table of all proxies with the columns that its users know, and charts with a line for each."""

from dataclasses import dataclass

from dashboards import colours
from dashboards.panel import (
    COLUMNS,
    Dashboard,
    Json,
    Override,
    Panel,
    Query,
    Scale,
    Section,
    chart,
    scale,
    stat,
    timeline,
)

_MINE = 'proxy_name=~"$proxy"'
DETAIL = "proxywatch-detail"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: the query gives one value per proxy."""

    title: str
    expr: str
    width: int
    unit: str = "short"
    decimals: int = 0
    steps: Scale = ()
    mappings: tuple[Json, ...] = ()


_SEEN = f"max by (proxy_name) (last_over_time(proxy_info{{{_MINE}}}[1d]))"
_SILENT = f"({_SEEN} unless on (proxy_name) proxy_info{{{_MINE}}})"
"""1 for each proxy that was seen within a day and whose exporter does not answer any more."""


def _each(metric: str) -> str:
    return f"max by (proxy_name) ({metric}{{{_MINE}}})"


def _change(metric: str) -> str:
    now, then = (f"avg_over_time({metric}{{{_MINE}}}[1h]{offset})" for offset in ("", " offset 1d"))
    return f"100 * (max by (proxy_name) ({now}) / max by (proxy_name) ({then}) - 1)"


def _sum(function: str, counter: str, by: str) -> str:
    return f"sum by ({by}) ({function}({counter}{{{_MINE}}}[$__rate_interval]))"


_RATE = (
    f"{_sum('rate', 'proxy_network_receive_bytes_total', 'proxy_name')}"
    f" + {_sum('rate', 'proxy_network_transmit_bytes_total', 'proxy_name')}"
)
COLUMNS_SHOWN = (
    Column(
        "VPN",
        f"{_each('vpn_connection_status')} or -1 * {_SILENT}",
        80,
        mappings=tuple(colours.UP_IF_KNOWN),
    ),
    Column("Success", _each("proxy_success_rate_percent"), 80, "percent", 1, colours.SUCCESS),
    Column("Latency", _each("proxy_latency_ms"), 80, "ms", 0, colours.LATENCY),
    Column("Latency, 24 h", _change("proxy_latency_ms"), 115, "percent", 0, colours.RISE_IS_BAD),
    Column("Speed (Mbps)", _each("proxy_download_speed_mbps"), 110, "short", 1, colours.SPEED),
    Column("Speed, 24 h", _change("proxy_download_speed_mbps"), 100, "percent", 0, colours.FALL_IS_BAD),
    Column("Active", _each("proxy_active_connections"), 65),
    Column("Mean duration", _each("proxy_avg_connection_duration_seconds"), 125, "s", 1),
    Column("Requests / min", _each("proxy_request_rate_permin"), 120),
    Column("Transfer", _RATE, 95, "Bps", 1),
    Column(
        "Exit checks",
        f"max by (proxy_name) (1 - proxy_exit_check{{{_MINE}}})",
        95,
        mappings=tuple(colours.CHECKS),
    ),
)
_EXIT = Query(
    f"max by (proxy_name, country, city) (proxy_exit_info{{{_MINE}}})", format="table", instant=True
)


def _status() -> Panel:
    queries = [Query(column.expr, format="table", instant=True) for column in COLUMNS_SHOWN]
    letters = [chr(ord("A") + place) for place in range(len(queries) + 1)]
    values = [f"Value #{letter}" for letter in letters]
    titles = dict(zip(values, (column.title for column in COLUMNS_SHOWN), strict=False))
    organize = {
        "excludeByName": {"Time": True, values[-1]: True},
        "indexByName": {"proxy_name": 0, **{value: place for place, value in enumerate(titles, 1)},
                        "country": 50, "city": 51},
        "renameByName": {"proxy_name": "Proxy", "country": "Exit", "city": "City", **titles},
    }  # fmt: skip
    link = {
        "title": "Details",
        "url": f"/d/{DETAIL}?var-proxy=${{__value.text}}&${{datasource:queryparam}}&${{__url_time_range}}",
    }
    return Panel(
        "Proxies",
        "table",
        "Each proxy as it is now. A figure that cannot be had is missing, never 0. NO DATA: seen within a"
        " day, and its exporter does not answer. 24 h: the mean of the last hour against that of the same"
        " hour a day ago.",
        (*queries, _EXIT),
        COLUMNS,
        8,
        {"custom": {"align": "auto", "inspect": False, "cellOptions": {"type": "auto"}}},
        {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": "Proxy", "desc": False}]},
        (
            Override("Proxy", {"links": [link], "custom.minWidth": 130}),
            Override("Exit", {"custom.width": 60}),
            Override("City", {"custom.minWidth": 120}),
            *(_override(column) for column in COLUMNS_SHOWN),
        ),
        ({"id": "merge", "options": {}}, {"id": "organize", "options": organize}),
    )


def _override(column: Column) -> Override:
    properties: Json = {"unit": column.unit, "decimals": column.decimals, "custom.width": column.width}
    if column.steps:
        properties |= {
            "thresholds": scale(column.steps),
            "color": {"mode": "thresholds"},
            "custom.cellOptions": {"type": "color-text"},
        }
    if column.mappings:
        properties |= {
            "mappings": list(column.mappings),
            "custom.cellOptions": {"type": "color-background", "mode": "basic"},
        }
    return Override(column.title, properties)


def _summary() -> tuple[Panel, ...]:
    requests = "sum(increase(proxy_requests_{}_total{{" + _MINE + "}}[$__range]))"
    good, bad = requests.format("successful"), requests.format("failed")
    return (
        stat("Proxies seen", "Within a day.", Query(f"count({_SEEN})", instant=True), width=3, graph=False),
        stat(
            "Without data",
            "Seen within a day, and their exporters do not answer: nothing is known of them.",
            Query(f"count({_SILENT}) or vector(0)"),
            steps=colours.NONE_IS_GOOD,
            width=3,
        ),
        stat(
            "Tunnels down",
            "Neither fresh nor idle, or without data.",
            Query(f"count(vpn_connection_status{{{_MINE}}} == 0 or {_SILENT}) or vector(0)"),
            steps=colours.NONE_IS_GOOD,
            width=3,
        ),
        stat(
            "Success",
            "Share of all requests in the time range that succeeded, whosever fault the others were.",
            Query(f"100 * {good} / ({good} + {bad})", instant=True),
            unit="percent",
            steps=colours.SUCCESS,
            width=4,
            graph=False,
            decimals=2,
        ),
        stat(
            "Requests",
            "All requests per minute.",
            Query(f"sum(proxy_request_rate_permin{{{_MINE}}})"),
            decimals=0,
        ),
        stat(
            "Connections",
            "All client connections that are served.",
            Query(f"sum(proxy_active_connections{{{_MINE}}})"),
        ),
        stat(
            "Alerts",
            "Alerts of ours that fire.",
            Query('count(ALERTS{alertstate="firing", alertname=~"Proxy.+"}) or vector(0)'),
            steps=colours.NONE_IS_GOOD,
            width=3,
        ),
    )


def _charts() -> tuple[Panel, ...]:
    return (
        chart(
            "Connection latency",
            "Median over the targets of one GET through the proxy. Gaps are rounds in which none answered.",
            Query(_each("proxy_latency_ms"), "{{proxy_name}}"),
            unit="ms",
            lines=colours.LATENCY_LINES,
            min=0,
        ),
        chart(
            "Download speed",
            "Speed tests, every five minutes, from the first byte of the body to the last.",
            Query(_each("proxy_download_speed_mbps"), "{{proxy_name}}"),
            unit="Mbits",
            lines=colours.SPEED_LINES,
            min=0,
        ),
        chart(
            "Failed requests",
            "Per interval, whosever fault it was; flat zero when there are none.",
            Query(_sum("increase", "proxy_requests_failed_total", "proxy_name"), "{{proxy_name}}"),
            min=0,
            decimals=0,
        ),
        chart(
            "Data transfer rate",
            "Through the VPN device: down above, up below.",
            Query(
                _sum("rate", "proxy_network_receive_bytes_total", "proxy_name"),
                "{{proxy_name}} down",
            ),
            Query(
                "-" + _sum("rate", "proxy_network_transmit_bytes_total", "proxy_name"),
                "{{proxy_name}} up",
            ),
            unit="Bps",
        ),
        chart(
            "Failed requests by blame",
            "Whose fault it was, of all the proxies together.",
            Query(_sum("increase", "proxy_request_failures_total", "blame"), "{{blame}}"),
            stacked=True,
            bars=True,
            min=0,
            decimals=0,
        ),
        chart(
            "Services",
            "Payload of ended sessions in both directions, by the port that was asked for.",
            Query(
                f"{_sum('rate', 'proxy_session_received_bytes_total', 'service')}"
                f" + {_sum('rate', 'proxy_session_sent_bytes_total', 'service')}",
                "{{service}}",
            ),
            unit="Bps",
            stacked=True,
            min=0,
        ),
        chart(
            "Request rate",
            "Requests decided per minute, good and bad.",
            Query(_each("proxy_request_rate_permin"), "{{proxy_name}}"),
            min=0,
        ),
        chart(
            "Active connections",
            "Client connections that Dante is serving.",
            Query(_each("proxy_active_connections"), "{{proxy_name}}"),
            min=0,
            decimals=0,
        ),
        timeline(
            "Tunnels",
            "The state of each tunnel. Fresh and idle are up: WireGuard is silent when nobody speaks.",
            Query(colours.tunnel_state(_MINE), "{{proxy_name}}"),
            colours.TUNNEL,
            width=COLUMNS,
            height=6,
        ),
    )


POOL = Dashboard(
    uid="proxywatch-pool",
    title="Proxy pool",
    description="All proxies of a pool: what a client of each gets.",
    many=True,
    sections=(Section("", _summary()), Section("", (_status(),)), Section("", _charts())),
)
