"""One proxy in detail: its probes by phase, its sessions, its children, its tunnel, its exporter."""

from dashboards import colours
from dashboards.panel import (
    COLUMNS,
    Dashboard,
    Json,
    Override,
    Panel,
    Query,
    Section,
    chart,
    heat_map,
    stat,
    timeline,
)
from dashboards.pool import DETAIL

_THIS = 'proxy_name="$proxy"'
_WINDOW = "[$__rate_interval]"


def _one(metric: str) -> str:
    return f"max({metric}{{{_THIS}}})"


def _rate(metric: str, *by: str, of: str = "rate") -> str:
    grouped = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouped} ({of}({metric}{{{_THIS}}}{_WINDOW}))"


def _counts(metric: str, *by: str) -> str:
    return _rate(metric, *by, of="increase")


def _failures(title: str, description: str, metric: str, *by: str) -> Panel:
    """Bars by the labels that occur, and a line for all, which is flat zero when there are none."""
    total: Json = {
        "color": {"mode": "fixed", "fixedColor": "text"},
        "custom.drawStyle": "line",
        "custom.fillOpacity": 0,
        "custom.lineWidth": 1,
        "custom.stacking": {"mode": "none", "group": "B"},
    }
    return chart(
        title,
        description,
        Query(f"{_counts(metric, *by)} > 0", " ".join(f"{{{{{label}}}}}" for label in by)),
        Query(_counts(metric), "all"),
        stacked=True,
        bars=True,
        overrides=[Override("all", total)],
        min=0,
    )


def _now() -> tuple[Panel, ...]:
    return (
        stat(
            "VPN",
            "1 when the tunnel is fresh or idle.",
            Query(_one("vpn_connection_status")),
            graph=False,
            mappings=colours.UP,
        ),
        stat(
            "Success",
            "Share of requests that succeeded over the last five minutes; absent when there were none.",
            Query(_one("proxy_success_rate_percent")),
            unit="percent",
            steps=colours.SUCCESS,
        ),
        stat(
            "Latency",
            "One GET through the proxy.",
            Query(_one("proxy_latency_ms")),
            unit="ms",
            steps=colours.LATENCY,
        ),
        stat(
            "Speed",
            "The last speed test.",
            Query(_one("proxy_download_speed_mbps")),
            unit="Mbits",
            steps=colours.SPEED,
        ),
        stat("Connections", "Client connections served now.", Query(_one("proxy_active_connections"))),
        stat(
            "Exit",
            "Where traffic comes out, as services on the other side see it.",
            Query(f"max by (country, city) (proxy_exit_info{{{_THIS}}})", "{{city}} {{country}}"),
            graph=False,
            name=True,
        ),
    )


def _latency() -> tuple[Panel, ...]:
    mean = "{} / {}".format(
        *(_rate(f"proxy_probe_phase_duration_seconds_{part}", "phase") for part in ("sum", "count"))
    )
    return (
        chart(
            "Phases of a probe",
            "Mean time of each phase of successful probes, from connecting to the proxy to the last byte.",
            Query(mean, "{{phase}}"),
            unit="s",
            stacked=True,
            min=0,
        ),
        heat_map(
            "Probe durations",
            "How many probes took how long.",
            _counts("proxy_probe_duration_seconds_bucket", "le"),
        ),
        chart(
            "Latency, and a day before",
            "The median over the targets, now and 24 hours earlier.",
            Query(_one("proxy_latency_ms"), "now"),
            Query(f"max(proxy_latency_ms{{{_THIS}}} offset 1d)", "24 h before"),
            unit="ms",
            lines=colours.LATENCY_LINES,
            min=0,
        ),
        _failures(
            "Failed probes",
            "By the phase in which they failed, and why.",
            "proxy_probe_failures_total",
            "stage",
            "reason",
        ),
        chart(
            "Slow probes by target",
            "95 of 100 probes of the last hour were faster.",
            Query(
                "histogram_quantile(0.95, sum by (le, target)"
                f" (rate(proxy_probe_duration_seconds_bucket{{{_THIS}}}[1h])))",
                "{{target}}",
            ),
            unit="s",
            min=0,
        ),
        chart(
            "Download speed",
            "The whole body, and its second half: when TCP's slow start is over or nearly.",
            Query(f"8 * {_one('proxy_speedtest_throughput_bytes_per_second')}", "whole"),
            Query(f"8 * {_one('proxy_speedtest_tail_throughput_bytes_per_second')}", "second half"),
            unit="bps",
            min=0,
        ),
        chart(
            "Speed tests",
            "Made, failed and skipped.",
            Query(_counts("proxy_speedtest_attempts_total"), "made"),
            Query(_counts("proxy_speedtest_failures_total"), "failed"),
            Query(_counts("proxy_speedtest_skipped_total", "reason"), "skipped: {{reason}}"),
            bars=True,
            min=0,
        ),
        chart(
            "Rounds of probes",
            "ok, all targets answered; target, some did; proxy, none did; skipped, the last round still ran.",
            Query(_counts("proxy_probe_rounds_total", "verdict"), "{{verdict}}"),
            stacked=True,
            bars=True,
            min=0,
        ),
    )


def _sessions() -> tuple[Panel, ...]:
    return (
        chart(
            "Requests",
            "Decided, per second.",
            Query(_rate("proxy_requests_successful_total"), "successful"),
            Query(_rate("proxy_requests_failed_total"), "failed"),
            unit="reqps",
            min=0,
        ),
        _failures(
            "Why requests failed", "Whose fault, and why.", "proxy_request_failures_total", "blame", "reason"
        ),
        heat_map(
            "Session set-up",
            "From a client's accept to its target's answer: SOCKS, DNS and dial of every real session.",
            _counts("proxy_session_setup_seconds_bucket", "le"),
        ),
        heat_map(
            "Session durations",
            "How long sessions lasted that ended in the interval.",
            _counts("proxy_session_duration_seconds_bucket", "le"),
        ),
        chart(
            "Sessions",
            "Opened and closed per second, by command and by whose they are.",
            Query(_rate("proxy_sessions_opened_total", "command", "origin"), "opened {{command}} {{origin}}"),
            Query(
                "-" + _rate("proxy_sessions_closed_total", "command", "origin"),
                "closed {{command}} {{origin}}",
            ),
        ),
        chart(
            "Payload by service",
            "Of ended sessions: to clients above, from clients below.",
            Query(_rate("proxy_session_sent_bytes_total", "service"), "{{service}} to clients"),
            Query("-" + _rate("proxy_session_received_bytes_total", "service"), "{{service}} from clients"),
            unit="Bps",
        ),
        chart(
            "Connections by source",
            "What each way of counting them says; sockets and log are exact.",
            Query(f"max by (source) (proxy_active_connections_by_source{{{_THIS}}})", "{{source}}"),
            min=0,
        ),
        chart(
            "Sockets",
            "Connections on the SOCKS port by state.",
            Query(f"sum by (state) (proxy_client_sockets{{{_THIS}}})", "{{state}}"),
            stacked=True,
            min=0,
        ),
    )


def _share(part: str, whole: str) -> str:
    parts = (_rate(f"proxy_tcp_{name}_segments_total".replace("__", "_"), "side") for name in (part, whole))
    return " / ".join(parts)


def _mean(metric: str) -> str:
    return " / ".join(_rate(f"{metric}_{part}", "side") for part in ("sum", "count"))


def _connections() -> tuple[Panel, ...]:
    return (
        chart(
            "Round trips by side",
            "Mean of connections that ended: smoothed, and the least of each. Upstream includes the tunnel.",
            Query(_mean("proxy_tcp_round_trip_seconds"), "{{side}}"),
            Query(_mean("proxy_tcp_minimum_round_trip_seconds"), "{{side}}, least"),
            unit="s",
            min=0,
        ),
        chart(
            "Losses by side",
            "Share of segments that the proxy sent again, and of those that it received after a gap.",
            Query(_share("retransmitted", ""), "{{side}}, sent again"),
            Query(_share("out_of_order", "received"), "{{side}}, after a gap"),
            unit="percentunit",
            min=0,
        ),
        chart(
            "Connections by side",
            "Ended, per second, and how. A failed one is a dial that nobody answered.",
            Query(_rate("proxy_tcp_connections_closed_total", "side", "end"), "{{side}} {{end}}"),
            min=0,
        ),
        chart(
            "Payload by side",
            "Received by the proxy above, sent by it below.",
            Query(_rate("proxy_tcp_received_bytes_total", "side"), "from {{side}}"),
            Query("-" + _rate("proxy_tcp_sent_bytes_total", "side"), "to {{side}}"),
            unit="Bps",
        ),
    )


def _dante() -> tuple[Panel, ...]:
    return (
        chart(
            "Children",
            "Dante's processes by kind, and those that an earlier Dante left to drain its sessions.",
            Query(f"sum by (child) (dante_child_processes{{{_THIS}}})", "{{child}}"),
            Query(f"sum(dante_orphan_processes{{{_THIS}}})", "orphans"),
            min=0,
            decimals=0,
        ),
        chart(
            "Slots",
            "Of Dante's children, used and free. It keeps some free: none means that it could not make more.",
            Query(f"sum by (child, state) (dante_child_slots{{{_THIS}}})", "{{child}} {{state}}"),
            min=0,
            decimals=0,
        ),
        chart(
            "Log",
            "Lines read per second, those not understood, rotations and truncations.",
            Query(_rate("dante_log_lines_total"), "lines"),
            Query(_rate("dante_log_unparsed_lines_total"), "not understood"),
            Query(_counts("dante_log_rotations_total"), "rotations"),
            Query(_counts("dante_log_truncations_total"), "truncations"),
            min=0,
        ),
        chart(
            "Lag and lost sessions",
            "How far the reading is behind the log, and connections whose end will never be logged.",
            Query(_one("dante_log_lag_seconds"), "lag in seconds"),
            Query(_counts("proxy_sessions_lost_total", "cause"), "lost: {{cause}}"),
            min=0,
        ),
        chart(
            "Names not resolved",
            "By Dante, for requests and datagrams.",
            Query(_counts("dante_dns_failures_total", "kind"), "{{kind}}"),
            stacked=True,
            bars=True,
            width=COLUMNS,
            min=0,
        ),
    )


def _tunnel() -> tuple[Panel, ...]:
    return (
        timeline(
            "Tunnel",
            "Its state. Fresh and idle are up: WireGuard is silent when nobody speaks.",
            Query(colours.tunnel_state(_THIS), "{{proxy_name}}"),
            colours.TUNNEL,
            height=6,
        ),
        timeline(
            "Exit checks",
            "vpn, country, not_direct, no_leak, dns; a check that cannot be judged is missing.",
            Query(f"min by (check) (proxy_exit_check{{{_THIS}}})", "{{check}}"),
            colours.PASSED,
            height=6,
        ),
        chart(
            "Bytes through the device",
            "Received above, transmitted below.",
            Query(_rate("proxy_network_receive_bytes_total", "device"), "{{device}} down"),
            Query("-" + _rate("proxy_network_transmit_bytes_total", "device"), "{{device}} up"),
            unit="Bps",
        ),
        chart(
            "Errors and drops of the device",
            "Packets per second.",
            Query(_rate("proxy_network_receive_errors_total", "device"), "{{device}} receive errors"),
            Query(_rate("proxy_network_transmit_errors_total", "device"), "{{device}} transmit errors"),
            Query(_rate("proxy_network_receive_drops_total", "device"), "{{device}} receive drops"),
            Query(_rate("proxy_network_transmit_drops_total", "device"), "{{device}} transmit drops"),
            unit="pps",
            min=0,
        ),
        chart(
            "Age of the key",
            "Since the last handshake of each peer. Old is no fault in an idle tunnel.",
            Query(
                f"time() - max by (public_key) (wireguard_peer_last_handshake_seconds{{{_THIS}}})",
                "{{public_key}}",
            ),
            unit="s",
            min=0,
        ),
        chart(
            "Changes of the exit",
            "How often its address was another than before.",
            Query(_counts("proxy_exit_changes_total"), "changes"),
            bars=True,
            min=0,
        ),
    )


def _exporter() -> tuple[Panel, ...]:
    return (
        timeline(
            "Collectors",
            "Whether the last update of each obtained its facts; nothing to measure counts as none.",
            Query(f"min by (collector) (proxywatch_collector_success{{{_THIS}}})", "{{collector}}"),
            colours.OBTAINED,
            height=9,
        ),
        chart(
            "Duration of updates",
            "By collector; those of probes last as long as the probes do.",
            Query(f"max by (collector) (proxywatch_collector_duration_seconds{{{_THIS}}})", "{{collector}}"),
            unit="s",
            height=9,
            min=0,
        ),
        heat_map(
            "Lag of the event loop",
            "How late the exporter's loop woke up, sampled once a second.",
            _counts("proxywatch_event_loop_lag_seconds_bucket", "le"),
        ),
        _failures(
            "Updates without facts",
            "By collector and reason.",
            "proxywatch_collector_failures_total",
            "collector",
            "reason",
        ),
        chart(
            "Memory",
            "Resident memory of the exporter.",
            Query(_one("process_resident_memory_bytes"), "resident"),
            unit="bytes",
            width=8,
            min=0,
        ),
        chart(
            "CPU",
            "Of one core.",
            Query(_rate("process_cpu_seconds_total"), "CPU"),
            unit="percentunit",
            width=8,
            min=0,
        ),
        chart(
            "Open files",
            "File descriptors, sockets included.",
            Query(_one("process_open_fds"), "open"),
            width=8,
            min=0,
        ),
    )


DETAIL_DASHBOARD = Dashboard(
    uid=DETAIL,
    title="Proxy in detail",
    description="One proxy: its probes, its sessions, its children, its tunnel, its exporter.",
    many=False,
    sections=(
        Section("", _now()),
        Section("Probes: what a client gets", _latency()),
        Section("Sessions, from Dante's log", _sessions()),
        Section("Connections, from the kernel", _connections()),
        Section("Dante", _dante()),
        Section("Tunnel and exit", _tunnel()),
        Section("The exporter itself", _exporter()),
    ),
)
