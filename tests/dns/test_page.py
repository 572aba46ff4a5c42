"""The page for operators tells the truth about the settings."""

import re
from pathlib import Path

import msgspec
import pytest

from proxywatch.config import Schema, load
from proxywatch.dns.settings import Api, Settings
from proxywatch.dns.statistics import Statistics

PAGE = (Path(__file__).parents[2] / "docs" / "dns.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_settings_is_read(example: str) -> None:
    assert load(example, {}, Schema({"dns": Settings, "api": Api}))[Settings].upstream


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def test_every_key_stands_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \|", PAGE, re.MULTILINE)
    told: dict[str, str] = {}
    for keys, defaults in rows:
        names = re.findall(r"`(\w+)`", keys)
        values = re.findall(r"`(.*?)`", defaults) or [""] * len(names)
        told |= dict(zip(names, values, strict=False))
    assert set(Settings.__struct_fields__) <= set(told)
    settings = load("dns: {upstream: [9.9.9.9], via: direct}", {}, Schema({"dns": Settings, "api": Api}))[
        Settings
    ]
    for name, value in told.items():
        if value not in {"", "required"} and name in Settings.__struct_fields__:
            real = getattr(settings, name)
            shown = real[0] if isinstance(real, tuple) else str(real).lower()
            assert shown == value.lower(), name


def test_the_statistics_are_a_document_of_the_api() -> None:
    example = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0]
    read = msgspec.json.decode(example, type=Statistics)
    assert read.cache.hits + read.cache.misses + read.cache.uncacheable == read.queries
    assert msgspec.json.decode(msgspec.json.encode(read)) == msgspec.json.decode(example)
