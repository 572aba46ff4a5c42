"""The reference pages and the README say what the code does."""

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from proxywatch import reference
from proxywatch.config import load
from proxywatch.exporter import daemon
from proxywatch.exporter.settings import SCHEMA
from proxywatch.metrics.family import Family
from support.contract import PART_A

ROOT = Path(__file__).parent.parent
FAMILIES = [family for publisher in daemon.every_publisher() for family in publisher.describe()]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("metrics.md", reference.metrics(daemon.every_publisher())),
        ("settings.md", reference.settings(SCHEMA)),
    ],
)
def test_the_pages_are_fresh(page: str, text: str) -> None:
    """`make reference` writes them anew."""
    assert (ROOT / "docs" / page).read_text() == text


@pytest.mark.parametrize("section", SCHEMA.sections)
def test_every_setting_has_its_sentence(section: str) -> None:
    """In the docstring of its struct, from which the page is made."""
    settings = SCHEMA.sections[section]
    assert {field.name for field in msgspec.structs.fields(settings)} == set(reference.sentences(settings))


def test_the_sample_file_is_the_defaults() -> None:
    """As it is printed, and with every key uncommented."""
    sample = reference.sample(SCHEMA)
    uncommented = re.sub(r"^( +)#(\w+: )", r"\1\2", sample, flags=re.MULTILINE)
    assert uncommented.count("\n") == sample.count("\n")
    assert load(sample, {}, SCHEMA) == load(uncommented, {}, SCHEMA) == load("", {}, SCHEMA)
    for section, struct in SCHEMA.sections.items():
        keys = uncommented.partition(f"\n{section}:\n")[2].partition("\n\n")[0]
        for field in msgspec.structs.fields(struct):
            assert f"  {field.encode_name}:" in keys


def test_part_a_of_the_contract_is_kept() -> None:
    """Dashboards and scripts in the field hold on to these names."""
    assert len(PART_A) == 11
    assert {family.exposed for family in FAMILIES} >= PART_A


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.exposed)
def test_names_follow_the_conventions(family: Family) -> None:
    """`_total` on counters alone, a full sentence of help, no label that Prometheus keeps for itself."""
    assert family.exposed.endswith("_total") == (family.type == "counter")
    assert family.documentation.rstrip().endswith((".", ")"))
    assert not {"le", "quantile", "job", "instance", "type", "proxy_name"} & set(family.labels)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)


def test_no_metric_is_declared_twice() -> None:
    """One name, one collector."""
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))


def test_the_settings_of_the_readme_can_be_loaded() -> None:
    """What people paste works."""
    text = (ROOT / "README.md").read_text()
    block = text.partition("## Settings that people change")[2].partition("All of them")[0]
    lines = [line[4:] for line in block.splitlines() if line.startswith("    ")]
    given = yaml.safe_load("\n".join(lines))
    assert len(given) >= 7
    load("\n".join(lines), {}, SCHEMA, "README.md")


def test_the_pages_that_the_readme_links_to_exist() -> None:
    """No dead link within the project."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
