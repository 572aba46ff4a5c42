"""What the queries make of known courses: the numbers that panels and columns show, reckoned by promtool."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dashboards.build import FILES, PLACE
from dashboards.colours import TUNNEL, UP_IF_KNOWN

from support import promql

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
PANELS = {
    name.split("-")[1]: {panel["title"]: panel for panel in json.loads((PLACE / name).read_text())["panels"]}
    for name in FILES
}
CRAB = '{proxy_name="golden-crab"}'
COUNTING = "0+60x1500"
"""One each second."""


def column(title: str) -> str:
    """The query of a column of the pool's table."""
    table = PANELS["pool"]["Proxies"]
    (organize,) = [each["options"] for each in table["transformations"] if each["id"] == "organize"]
    letters = {name: value.removeprefix("Value #") for value, name in organize["renameByName"].items()}
    (found,) = [target["expr"] for target in table["targets"] if target["refId"] == letters[title]]
    return str(found)


def panel(title: str, place: int = 0, dashboard: str = "pool") -> str:
    """The query of a panel."""
    return str(PANELS[dashboard][title]["targets"][place]["expr"])


def check(tmp_path: Path, expr: str, series: dict[str, str], expected: dict[str, float]) -> None:
    """Hold a query against what it should give after a day and an hour with a sample a minute."""
    filled = promql.filled(expr, "golden-crab", interval="5m", span="1h")
    asked = {
        "expr": f"round({filled}, 0.01)",
        "eval_time": "1500m",
        "exp_samples": [{"labels": labels, "value": value} for labels, value in expected.items()],
    }
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    inputs += [{"series": name.replace("golden-crab", "other"), "values": "9x1500"} for name in series]
    file = tmp_path / "course.yml"
    test = {"interval": "1m", "input_series": inputs, "promql_expr_test": [asked]}
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("title", "metric", "change"),
    [("Latency, 24 h", "proxy_latency_ms", 50), ("Speed, 24 h", "proxy_download_speed_mbps", 50)],
)
def test_a_change_is_of_the_same_hour_a_day_ago_in_percent(
    tmp_path: Path, title: str, metric: str, change: float
) -> None:
    """100 a day ago, 400 an hour and more ago, 150 now."""
    course = "100x65 400x1370 150x62"
    check(tmp_path, column(title), {metric + CRAB: course}, {CRAB: change})


def test_exit_checks_are_wrong_when_one_of_them_is(tmp_path: Path) -> None:
    """The column's 1 is `wrong`."""
    series = [f'proxy_exit_check{{proxy_name="golden-crab", check="{check}"}}' for check in ("vpn", "dns")]
    check(tmp_path, column("Exit checks"), {series[0]: "1x1500", series[1]: "0x1500"}, {CRAB: 1})
    check(tmp_path, column("Exit checks"), {series[0]: "1x1500", series[1]: "1x1500"}, {CRAB: 0})


def test_failed_requests_are_those_that_failed_and_zero_when_none_did(tmp_path: Path) -> None:
    """Of an interval of five minutes."""
    good, bad = (f"proxy_requests_{end}_total{CRAB}" for end in ("successful", "failed"))
    check(tmp_path, panel("Failed requests"), {good: COUNTING, bad: "0+2x1500"}, {CRAB: 10})
    check(tmp_path, panel("Failed requests"), {good: COUNTING, bad: "7x1500"}, {CRAB: 0})


def test_success_is_the_share_of_all_requests(tmp_path: Path) -> None:
    """Of the time range; one in ten failed."""
    good, bad = (f"proxy_requests_{end}_total{CRAB}" for end in ("successful", "failed"))
    check(tmp_path, panel("Success"), {good: "0+9x1500", bad: "0+1x1500"}, {"{}": 90})


def test_what_goes_up_is_drawn_below_and_a_transfer_is_both(tmp_path: Path) -> None:
    """Bytes a second."""
    down, up = (
        f'proxy_network_{way}_bytes_total{{proxy_name="golden-crab", device="wg0"}}'
        for way in ("receive", "transmit")
    )
    series = {down: "0+6000x1500", up: "0+600x1500"}
    check(tmp_path, panel("Data transfer rate"), series, {CRAB: 100})
    check(tmp_path, panel("Data transfer rate", 1), series, {CRAB: -10})
    check(tmp_path, column("Transfer"), series, {CRAB: 110})


def test_tunnels_that_are_down_are_counted_and_none_is_zero(tmp_path: Path) -> None:
    """Never no data."""
    status = f"vpn_connection_status{CRAB}"
    check(tmp_path, panel("Tunnels down"), {status: "0x1500"}, {"{}": 1})
    check(tmp_path, panel("Tunnels down"), {status: "1x1500"}, {"{}": 0})


INFO = f"proxy_info{CRAB}"


@pytest.mark.parametrize(
    ("info", "status", "shown"),
    [
        ("1x1500", "1x1500", 1),
        ("1x1500", "0x1500", 0),
        ("1x1400 stale", "1x1400 stale", -1),
        ("1x1400 stale", "0x1400 stale", -1),
    ],
)
def test_the_row_of_a_dead_exporter_stays_and_says_so(
    tmp_path: Path, info: str, status: str, shown: int
) -> None:
    """For a day; the number is the one that the column calls NO DATA."""
    check(tmp_path, column("VPN"), {INFO: info, f"vpn_connection_status{CRAB}": status}, {CRAB: shown})
    (mapping,) = UP_IF_KNOWN
    assert mapping["options"]["-1"]["text"] == "NO DATA"


def test_a_row_goes_when_its_proxy_has_been_away_for_a_day(tmp_path: Path) -> None:
    """A proxy that was removed is not shown for ever."""
    check(tmp_path, column("VPN"), {INFO: "1x30 stale"}, {})


@pytest.mark.parametrize("title", ["Proxies seen", "Without data", "Tunnels down"])
def test_counts_do_not_improve_when_an_exporter_dies(tmp_path: Path, title: str) -> None:
    """A dead exporter in front of a dead tunnel is not a tunnel less that is down."""
    status, before, after = f"vpn_connection_status{CRAB}", "0x1500", "0x1400 stale"
    expected = {"Proxies seen": (1, 1), "Without data": (0, 1), "Tunnels down": (1, 1)}[title]
    check(tmp_path, panel(title), {INFO: "1x1500", status: before}, {"{}": expected[0]})
    check(tmp_path, panel(title), {INFO: "1x1400 stale", status: after}, {"{}": expected[1]})


@pytest.mark.parametrize("state", ["fresh", "idle", "rekey_overdue", "dead", "never", "absent"])
def test_a_tunnels_state_is_shown_by_its_name(tmp_path: Path, state: str) -> None:
    """The number that the query gives is the one that the panel calls so."""
    (mapping,) = TUNNEL
    number = next(
        int(value) for value, each in mapping["options"].items() if each["text"] == state.replace("_", " ")
    )
    series = {
        f'vpn_tunnel_state{{proxy_name="golden-crab", state="{each}"}}': f"{int(each == state)}x1500"
        for each in ("fresh", "idle", "rekey_overdue", "dead", "never", "absent")
    }
    check(tmp_path, panel("Tunnels"), series, {CRAB: number})


UNITS = {
    "Connection latency": "ms",
    "Download speed": "Mbits",
    "Data transfer rate": "Bps",
    "Services": "Bps",
}


@pytest.mark.parametrize("title", UNITS)
def test_a_unit_is_that_of_the_metric(title: str) -> None:
    """Grafana's names: ms, Mbits a second, bytes a second."""
    assert PANELS["pool"][title]["fieldConfig"]["defaults"]["unit"] == UNITS[title]


def test_a_gap_is_drawn_as_a_gap() -> None:
    """What could not be measured is no line between its neighbours."""
    for panels in PANELS.values():
        for each in panels.values():
            if each["type"] == "timeseries":
                assert each["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False
