"""The runbooks: a page per alert that can be followed at night, about things that exist."""

import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml
from dashboards.build import FILES, PLACE

from proxywatch import cli
from proxywatch.exporter.settings import SCHEMA
from support import promql
from support.metrics import declared
from support.runbooks import PAGES, PARTS, commands, part, queries

ROOT = Path(__file__).parents[2]
FAMILIES = declared()
RULES = {
    rule["alert" if "alert" in rule else "record"]: rule
    for file in ROOT.glob("alerts/*.rules.yml")
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
}
ALERTS = {name for name, rule in RULES.items() if "alert" in rule}
ADDED = {"proxy_name", "job", "instance"}

each = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    """What is gone leaves no page behind; the index has all of them."""
    assert {page.stem for page in PAGES} == ALERTS
    index = (PAGES[0].parent / "README.md").read_text()
    assert set(re.findall(r"\((\w+)\.md\)", index)) == ALERTS


@each
def test_a_page_has_all_that_its_reader_needs(page: Path) -> None:
    """Its parts in their order; lines for the shell and for Prometheus; causes that lead to a deed."""
    assert re.findall(r"^# (.*)$", page.read_text(), re.MULTILINE) == [page.stem]
    assert re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE) == list(PARTS)
    assert commands(page)
    assert queries(page)
    rows = re.findall(r"^\| .* \|$", part(page, "Causes"), re.MULTILINE)
    assert rows[0] == "| you see | it is | do |"
    assert len(rows) > 3
    assert all(row.count(" | ") == 2 and row.split(" | ")[-1].strip(" |") for row in rows)


@each
def test_its_commands_are_ones_of_the_program(page: Path) -> None:
    """As far as they are proxywatch's."""
    asked = {line.split()[1] for line in commands(page) if line.startswith("pw ")}
    assert asked <= set(cli.main.commands)


@each
def test_its_queries_parse_and_are_about_what_exists(page: Path) -> None:
    """Metrics with their labels, increases of counters alone."""
    for query in queries(page):
        for metric, labels, counted in promql.series(query):
            if metric in RULES or metric == "up":
                continue
            family = FAMILIES.get(metric) or FAMILIES[re.sub("_(sum|count|bucket)$", "", metric)]
            assert labels - ADDED <= set(family.labels), query
            assert not counted or family.type in {"counter", "histogram", "summary"}, query


@each
def test_its_words_are_those_of_the_project(page: Path) -> None:
    """Panels by their titles, settings by their keys, pages by their names."""
    text = page.read_text()
    shown = {panel["title"] for name in FILES for panel in json.loads((PLACE / name).read_text())["panels"]}
    assert set(re.findall(r"(?<!\*)\*([A-Z][\w' ,]+)\*", text)) <= shown
    for section, key in re.findall(r"`(\w+)\.(\w+)[\w.]*[:`]", text):
        if section in SCHEMA.sections:
            fields = {field.name for field in msgspec.structs.fields(SCHEMA.sections[section])}
            assert key in fields, f"{section}.{key}"
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_labels_in_the_alerts_of_a_page_are_ones_that_are_counted() -> None:
    """Every stage and reason that a table of causes names is in the page of probes or of sessions."""
    known = (ROOT / "docs/probes.md").read_text() + (ROOT / "docs/sessions.md").read_text()
    for page in PAGES:
        named = re.findall(r"^\| (?:stages? |blame )(`\w+`(?:, `\w+`)*)", page.read_text(), re.MULTILINE)
        for word in re.findall(r"\w+", " ".join(named)):
            assert re.search(rf"\b{word}\b", known), f"{page.name}: {word}"
