"""What the pages on discovery and measuring show can be used as it stands there, and says what is so."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxywatch.balancer.choosing import settings as choosing
from proxywatch.balancer.config import SCHEMA, derive
from proxywatch.balancer.discovery import file_sd
from proxywatch.balancer.discovery.metrics import FAMILIES as DISCOVERED
from proxywatch.balancer.facts import probe, speed
from proxywatch.balancer.measuring_metrics import FAMILIES as MEASURED
from proxywatch.clock import SystemClock
from proxywatch.config import load

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text() for name in ("discovery", "measuring")}


def blocks(name: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", PAGES[name], re.DOTALL)


@pytest.mark.parametrize("text", [it for name in PAGES for it in blocks(name) if "apiVersion" not in it])
def test_every_example_is_good(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are settings, target files are target files."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    document: Any = yaml.safe_load(text)
    if isinstance(document, list):
        nodes, _ = file_sd.read(text.encode(), "a.yml")
        assert len(nodes) == 3
        return
    derive(load(text, {}, SCHEMA), ["health_score"], SystemClock())  # type: ignore[arg-type]


def test_defaults_are_as_shown() -> None:
    """The examples of the page on measuring are the defaults."""
    text = "\n".join(blocks("measuring"))
    config, default = load(text, {}, SCHEMA), load("", {}, SCHEMA)
    for section in (probe.Settings, speed.Settings, choosing.Exit):
        assert config[section] == default[section]


@pytest.mark.parametrize(("name", "families"), [("discovery", DISCOVERED), ("measuring", MEASURED)])
def test_every_series_is_on_its_page(name: str, families: Any) -> None:
    """By its full name, or by its end beside one of the same beginning."""
    page = PAGES[name]
    for family in families:
        end = family.exposed.removeprefix("balancer_speed_test_budget")
        assert family.exposed in page or f"`{end}`" in page, family.exposed
