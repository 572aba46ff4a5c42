"""Every query and every rule on a real Prometheus, over real exporters beside WireGuard and Dante."""

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from dashboards.build import FILES, PLACE

from support import promql
from testbed.pod import missing
from testbed.pool import Pool, pool

NAMES = ("golden-crab", "free-salmon")
RULES = PLACE.parent / "alerts"
LACKING = missing() + [program for program in ("prometheus", "promtool") if shutil.which(program) is None]

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"a pool needs {LACKING}"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A pool that has been up for some scrapes, had its failures, and lost a tunnel for a while."""
    place = tmp_path_factory.mktemp("pool")
    with pool(place, *NAMES, rules=tuple(RULES.glob("*.yml"))) as running:
        running.until("proxy_exit_info")
        running.pods["free-salmon"].cut()
        for failures in ("proxy_probe_failures_total", "proxywatch_collector_failures_total"):
            running.until(f"increase({failures}[1m]) > 0", proxies=1)
        running.pods["free-salmon"].heal()
        for metric in ("proxy_request_failures_total > 0", "proxy_download_speed_mbps", "proxy_exit_info"):
            running.until(metric)
        running.until("count_over_time(proxy_latency_ms[1m]) > 8")
        yield running


def queries() -> Iterator[tuple[str, str, str]]:
    """The title of the panel, the expression, the legend, of both dashboards."""
    for name in FILES:
        for panel in json.loads((PLACE / name).read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield panel["title"], target["expr"], target["legendFormat"]


@pytest.mark.parametrize(("title", "expr", "legend"), list(queries()))
def test_a_query_has_data_and_the_labels_of_its_legend(
    seen: Pool, title: str, expr: str, legend: str
) -> None:
    """For the proxy that had trouble, so that failures have something to show too."""
    proxy = "free-salmon" if 'proxy_name="$proxy"' in expr else "free-salmon|golden-crab"
    result = seen.some(promql.filled(expr, proxy, interval="1m", span="1m"))
    assert result, f"{title}: no data for {expr}"
    labels = set(re.findall(r"{{(\w+)}}", legend))
    assert all(labels <= series["metric"].keys() for series in result), title


def test_both_variables_and_the_table_know_every_proxy(seen: Pool) -> None:
    """What label_values gives, and one row each."""
    _, body = seen.fetch("/api/v1/label/proxy_name/values?match[]=proxy_info")
    assert sorted(json.loads(body)["data"]) == sorted(NAMES)
    table = next(
        panel
        for panel in json.loads((PLACE / "proxy-pool-dashboard.json").read_text())["panels"]
        if panel["type"] == "table"
    )
    for target in table["targets"]:
        rows = [series["metric"]["proxy_name"] for series in seen.query(promql.filled(target["expr"]))]
        assert sorted(rows) == sorted(NAMES), target["expr"]


def test_every_rule_is_evaluated_and_no_alert_fires(seen: Pool) -> None:
    """A cut of seconds and the failures of a few clients are no reason."""
    _, body = seen.fetch("/api/v1/rules")
    rules = [rule for group in json.loads(body)["data"]["groups"] for rule in group["rules"]]
    assert len(rules) == 28
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


def test_what_is_recorded_has_data(seen: Pool) -> None:
    """Under the name that the alerts use."""
    names = re.findall(r"- record: (\S+)", (RULES / "recording.rules.yml").read_text())
    assert names
    assert [name for name in names if not seen.query(name)] == []
