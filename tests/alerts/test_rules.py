"""Alerts and recording rules, judged by promtool: they load, fire when due, and keep quiet otherwise."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import promql
from support.metrics import declared

ROOT = Path(__file__).parents[2]
ALERTS, RECORDING = ROOT / "alerts/proxywatch.rules.yml", ROOT / "alerts/recording.rules.yml"
HERE = Path(__file__).parent
HOME = yaml.safe_load((ROOT / "helm/proxywatch/Chart.yaml").read_text())["home"]
FAMILIES = declared()
FIRE = ("fire.test.yml", "fire-by-day.test.yml")
OTHERS = {"up"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def rules(file: Path) -> list[dict[str, Any]]:
    """All rules of a file."""
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str, cwd: Path = HERE) -> "subprocess.CompletedProcess[str]":
    """Run it."""
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


each = pytest.mark.parametrize("alert", rules(ALERTS), ids=lambda rule: rule["alert"])


@needs_promtool
def test_promtool_accepts_them() -> None:
    """With all that it can find fault with."""
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS), str(RECORDING))
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
@pytest.mark.parametrize("course", sorted(path.name for path in HERE.glob("*.test.yml")))
def test_they_fire_and_keep_quiet(course: str) -> None:
    """Over the courses in the files beside this one."""
    result = promtool("test", "rules", course)
    assert result.returncode == 0, result.stdout + result.stderr


@each
def test_an_alert_fires_in_one_course_and_not_in_another(alert: dict[str, Any]) -> None:
    """So that a test of it is never forgotten."""
    courses = [course for name in FIRE for course in yaml.safe_load((HERE / name).read_text())["tests"]]
    asked = [ask for course in courses for ask in course.get("alert_rule_test", [])]
    mine = [ask["exp_alerts"] for ask in asked if ask["alertname"] == alert["alert"]]
    assert any(mine), "never fires"
    assert not all(mine), "never keeps quiet"


@needs_promtool
def test_an_alert_that_cannot_fire_is_found_out(tmp_path: Path) -> None:
    """Each rule broken: the courses see every one."""
    (tmp_path / "alerts").mkdir()
    shutil.copytree(HERE, tmp_path / "tests/alerts")
    shutil.copy(RECORDING, tmp_path / "alerts")
    (tmp_path / "alerts" / ALERTS.name).write_text(ALERTS.read_text().replace("alert: ", "alert: Not"))
    results = [promtool("test", "rules", name, cwd=tmp_path / "tests/alerts") for name in FIRE]
    found = set(
        re.findall(r"alertname: ?(\w+)", "".join(result.stdout + result.stderr for result in results))
    )
    assert found == {rule["alert"] for rule in rules(ALERTS)}


@each
def test_an_alert_says_what_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    """A static summary, a description of the case, a severity, a page."""
    notes = alert["annotations"]
    assert alert["alert"].startswith("Proxy")
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert "{{" not in notes["summary"]
    assert "{{ $labels." in notes["description"]
    page = (ROOT / notes["runbook_url"].removeprefix(f"{HOME}/blob/main/")).read_text()
    assert page.startswith(f"# {alert['alert']}\n")
    assert f"[{alert['alert']}](runbooks/{alert['alert']}.md)" in (ROOT / "docs/dashboards.md").read_text()


@pytest.mark.parametrize("rule", rules(RECORDING), ids=lambda rule: rule["record"])
def test_recorded_names_say_level_metric_and_operation(rule: dict[str, Any]) -> None:
    """As the field names them; the level begins with the proxy."""
    level, metric, operation = rule["record"].split(":")
    assert re.fullmatch(r"proxy(_\w+)?", level)
    assert metric
    assert operation


@pytest.mark.parametrize("rule", rules(ALERTS) + rules(RECORDING), ids=lambda rule: next(iter(rule.values())))
def test_every_metric_is_described_or_recorded(rule: dict[str, Any]) -> None:
    """With its labels; increases of counters alone."""
    recorded = {other["record"] for other in rules(RECORDING)}
    for metric, labels, counted in promql.series(rule["expr"]):
        if metric in OTHERS or metric in recorded:
            continue
        family = FAMILIES[metric]
        assert labels <= set(family.labels)
        assert counted == (family.type == "counter"), f"{metric} is a {family.type}"
