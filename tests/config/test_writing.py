"""Settings back to text: a document without secrets, and YAML that reads back the same."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.config import Schema, Section, load, writing
from proxywatch.quantity import Duration, Size
from proxywatch.secret import Secret


class Part(msgspec.Struct, frozen=True):
    """Within a list."""

    url: str
    weight: int = 1


class Whole(msgspec.Struct, frozen=True):
    """One of each kind."""

    password: Secret = Secret()
    interval: Duration = Duration(30)
    size: Size = Size(10**6)
    on: bool = True
    share: float = 0.5
    word: str = "null"
    parts: tuple[Part, ...] = (Part("http://a/?x={y}", 2), Part("no"))
    nothing: int | None = None


def test_a_document_has_no_secret() -> None:
    """Quantities as people write them, a secret as stars."""
    document = writing.document(Whole(password=Secret("8642097531")))
    assert document == {
        "password": "***", "interval": "30s", "size": "1MB", "on": True, "share": 0.5, "word": "null",
        "parts": [{"url": "http://a/?x={y}", "weight": 2}, {"url": "no", "weight": 1}],
        "nothing": None,
    }  # fmt: skip
    assert msgspec.json.encode(document)


def test_what_is_by_default_is_left_out_of_a_struct() -> None:
    """Short enough for a line."""
    assert writing.flow(Whole().parts) == '[{url: "http://a/?x={y}", weight: 2}, {url: no}]'


@pytest.mark.parametrize("field", msgspec.structs.fields(Whole), ids=lambda field: field.name)
def test_every_value_reads_back_the_same(field: Any) -> None:
    """As the sample file writes it."""
    text = f"whole: {{{field.name}: {writing.flow(field.default)}}}"
    assert load(text, {}, Schema({"whole": Whole}))[Whole] == Whole()


def test_a_mapping_reads_back_the_same() -> None:
    """Keys and values that need quotes among them."""
    free = {"a b": "c: d", "no": "#", "x": "~"}
    schema = Schema({}, {"x": Section(dict[str, str], {})})
    assert load(f"x: {writing.flow(free)}", {}, schema).sections["x"] == free


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_reads_back_the_same(text: str) -> None:
    """Whatever YAML would make of it."""
    schema = Schema({}, {"x": Section(str, "")})
    assert load(f"x: {writing.flow(text)}", {}, schema).sections["x"] == text
