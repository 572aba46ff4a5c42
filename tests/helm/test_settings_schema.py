"""Settings in the values are checked before anything is installed: Helm refuses what the program would."""

import json
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from helm.build import CHART, README, VALUES, VALUES_SCHEMA, readme, values_schema
from helm.settings_schema import of_type, settings_schema
from helm.values_table import table

from proxywatch.config import load
from proxywatch.errors import ConfigError, ParseError
from proxywatch.exporter.settings import SCHEMA
from proxywatch.quantity import Duration, Size, Url
from support.charts import POOL, ROOT, render

SETTINGS = jsonschema.Draft7Validator(settings_schema(SCHEMA))
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"latency": {"interval": "fast"}}, "interval"),
    ({"latency": {"intervall": "30s"}}, "intervall"),
    ({"latncy": {}}, "latncy"),
    ({"latency": {"interval": 30}}, "interval"),
    ({"latency": {"interval": "0s"}}, "interval"),
    ({"latency": {"targets": ["ftp://a.example/"]}}, "targets"),
    ({"latency": {"targets": "http://a.example/"}}, "targets"),
    ({"speed": {"bytes": "much"}}, "bytes"),
    ({"speed": {"bytes": -1}}, "bytes"),
    ({"sockets": {"port": 70000}}, "port"),
    ({"sessions": {"start": "middle"}}, "start"),
    ({"exit": {"expect": {"county": "se"}}}, "county"),
    ({"log": {"level": "loud"}}, "level"),
    ({"children": {"names": "danted"}}, "names"),
]
# The program reads the text that stands in a file; Helm has decided what a text means before we see it.
STRICTER: list[tuple[dict[str, Any], str]] = [
    ({"latency": {"enabled": "yes"}}, "enabled"),
    ({"sockets": {"port": "1080"}}, "port"),
    ({"exit": {"expect": {"country": False}}}, "country"),  # `country: no`, without quotes
]


def accepted(settings: dict[str, Any]) -> bool:
    """Whether the program takes them."""
    try:
        load(yaml.safe_dump(settings), {}, SCHEMA)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("major", ["4", pytest.param("3", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("settings", "named"), WRONG)
def test_helm_refuses_what_the_program_would(settings: dict[str, Any], named: str, major: str) -> None:
    """For all proxies and for one, naming the key."""
    assert not accepted(settings)
    refused_by_helm(settings, named, major)


@pytest.mark.parametrize(("settings", "named"), STRICTER)
def test_helm_wants_the_type_that_is_meant(settings: dict[str, Any], named: str) -> None:
    """Rather than write another text into the file than the one that stands in the values."""
    refused_by_helm(settings, named, "4")


def refused_by_helm(settings: dict[str, Any], named: str, major: str) -> None:
    """Whether for all proxies or for one."""
    for values in (
        POOL | {"sidecar": {"settings": settings}},
        {"proxies": [POOL["proxies"][0] | {"settings": settings}]},
    ):
        with pytest.raises(RuntimeError, match=named):
            render(values, major=major)


def written(value: object) -> object:
    """A default as people would write it."""
    if isinstance(value, msgspec.Struct):
        return {
            name: written(getattr(value, name)) for name in value.__struct_fields__ if getattr(value, name)
        }
    if isinstance(value, tuple):
        return [written(item) for item in value]
    return value if isinstance(value, bool) or type(value) is int else str(value)


def test_defaults_of_the_program_are_settings_that_helm_accepts() -> None:
    """Every key that has a default."""
    defaults = {section: written(struct()) for section, struct in SCHEMA.sections.items()}
    SETTINGS.validate(defaults)
    assert "targets" in str(defaults)


@pytest.mark.parametrize(
    "settings",
    [
        {"latency": {"interval": "1m30s", "timeout": "500ms"}},
        {"speed": {"bytes": "1.5 MiB", "max_bytes": 2000000, "min_duration": "0s"}},
        {"speed": {"url": "https://speed.example/__down?bytes={bytes}"}},
        {"http": {"listen": ["127.0.0.1:9090", "unix:/run/a.sock"]}},
        {"http": {"listen": ":9090, [::1]:9091"}},
        {"interface": {"name": ["wg0", "wg1"]}},
        {"interface": {"name": "wg0"}},
        {"exit": {"expect": {"country": "no", "mullvad": True}}},
        {"latency": {"targets": ["http://a.example", "https://b.example:8443/x?y#z"]}},
    ],
)
def test_helm_accepts_what_the_program_does(settings: dict[str, Any]) -> None:
    """However it is written."""
    assert accepted(settings)
    SETTINGS.validate(settings)


@pytest.mark.parametrize("text", ["1s", "1.5h", "10ms", "0s", "", "s", "1", "1 s", "1s2", "-1s", "1h30m"])
@pytest.mark.parametrize("kind", [Duration, Size, Url])
def test_the_pattern_of_a_quantity_is_its_own_reading(kind: Any, text: str) -> None:
    """What its `parse` takes, and nothing else."""
    try:
        kind.parse(text)
    except ParseError:
        taken = False
    else:
        taken = True
    assert jsonschema.Draft7Validator(of_type(kind)).is_valid(text) == taken


def test_an_unknown_type_is_an_error_rather_than_an_open_door() -> None:
    """Whoever adds one decides what Helm may take for it."""
    with pytest.raises(TypeError, match="no schema"):
        of_type(complex)


def test_what_is_generated_is_fresh() -> None:
    """The schema follows the program, the README the values: `make chart`."""
    assert VALUES_SCHEMA.read_text() == values_schema()
    assert README.read_text() == readme()


def test_every_value_is_described_and_known_to_the_schema() -> None:
    """No value without a sentence, none that the schema refuses, no property that is no value."""
    values, schema = yaml.safe_load(VALUES.read_text()), json.loads(VALUES_SCHEMA.read_text())
    jsonschema.Draft7Validator(schema).validate(values)
    assert set(schema["properties"]) == set(values)
    with pytest.raises(ValueError, match=r"a\.c has no comment"):
        table("a:\n  # -- First.\n  b: 1\n  c: 2\n")


def test_the_icon_is_the_one_of_the_chart() -> None:
    """Its address leads to the file in the repository."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    path = about["icon"].removeprefix(f"{about['home']}/raw/main/")
    assert (ROOT / path).read_text().startswith("<svg")
