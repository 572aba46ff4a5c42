"""The one reading of YAML: what it refuses, that it says where, and that it quotes nothing."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxywatch.config import Schema, document, load
from proxywatch.config.document import Mapping, Scalar
from proxywatch.errors import ConfigError, Fault
from proxywatch.exporter.settings import SCHEMA
from proxywatch.quantity import Duration, Size
from proxywatch.secret import Secret


def faults(read: Callable[[], object]) -> Sequence[Fault]:
    """What is wrong; nothing else may be raised."""
    try:
        read()
    except ConfigError as error:
        return error.faults
    return ()


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        document.load(text, "x.yml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: !!timestamp abc", "x.yml:2: tags"),
        ("a: !!bool abc", "x.yml:1: tags"),
        ('a: !!int ""', "x.yml:1: tags"),
        ("a: !!python/object/apply:os.system ['true']", "x.yml:1: tags"),
        ("a: &b [x]", "x.yml:1: anchors"),
        ("a: *b", "x.yml:1: references"),
        ("a:\n  b: 1\n  b: 2", "x.yml:3 a.b: given twice"),
        ("a: 1\n---\nb: 2", "x.yml:2: a second document"),
        ("[" * 3000, "x.yml:1: nested deeper"),
        ("[" * 100_000, "x.yml:1: nested deeper"),
        ("{" * 100_000, "x.yml:1: expected a plain key"),
        ("- " * 100_000, "x.yml:1: nested deeper"),
        ("a: \x1b[31m", "x.yml:1: not YAML: a character"),
        ("a: 1\nb: \ud800", "x.yml:2: not YAML: a character"),
        ("a: [1, 2\nb: 3", "x.yml:2: not YAML: did not find expected"),
        ("a: " + "x" * (1 << 20), "x.yml: longer than 1048576 characters"),
        ("".join(f"k{n}: 1\n" for n in range(80_000)), "x.yml:20001: more than 20000 keys"),
        ("[" + "1," * 200_000 + "]", "x.yml:1: more than 100000 values"),
        ("? [a]\n: b", "x.yml:1: expected a plain key"),
    ],
    ids=lambda text: text[:16],
)
def test_what_is_refused(text: str, expected: str) -> None:
    """With its line, and in a sentence."""
    assert refusal(text).startswith(expected)


def test_bytes_are_read_as_utf_8() -> None:
    """What is not is a fault with its line, and is not quoted."""
    root = document.load("a: ü".encode(), "x.yml")
    assert document.texts(root) == {"a": "ü"}
    with pytest.raises(ConfigError, match=r"^x\.yml:2: not text in UTF-8$"):
        document.load(b"a: 1\nb: \xff\n", "x.yml")


def test_a_document_as_texts() -> None:
    """For formats whose readers know what their values mean."""
    root = document.load("a: [no, 1, ~, '~', {b: }]\nc: 2021-99-99", "x.yml")
    assert document.texts(root) == {"a": ["no", "1", None, "~", {"b": None}], "c": "2021-99-99"}


@pytest.mark.parametrize(
    "line",
    ["@hunter2", "*hunter2", "&hunter2 x", "!hunter2", "!a!hunter2", '"hunter2\\q"', "'hunter2", "[hunter2",
     "hunter2: x", "%hunter2", "`hunter2", "hunter2\x07", "|hunter2"],
)  # fmt: skip
def test_no_refusal_quotes_the_file(line: str) -> None:
    """It may be a password that is written wrongly."""
    assert "hunter2" not in refusal(f"a:\n  password: {line}\n")


@pytest.mark.parametrize(
    "word", ["no", "off", "on", "yes", "123", "0x1f", "1e3", "1_000", "010", "2021-99-99", "1:30", "="]
)
def test_words_stay_as_they_are_written(word: str) -> None:
    """What they mean is decided where they are wanted."""
    root = document.load(f"{word}: {word}", "x.yml")
    assert isinstance(root, Mapping)
    value = root.items[word]
    assert isinstance(value, Scalar)
    assert value.text == word


class Kinds(msgspec.Struct, frozen=True):
    """One of each."""

    text: str = ""
    flag: bool = False
    count: int = 0
    share: float = 0.0
    size: Size = Size(0)
    wait: Duration = Duration(0)
    secret: Secret = Secret()


KINDS = Schema({"kinds": Kinds})
HOSTILE = (
    "!!timestamp abc", "!!bool abc", '!!int ""', "9" * 6000, "-" + "9" * 6000, f'"{"9" * 400}TB"',
    "2021-99-99", "[" * 3000, "²", "٣", "1e999", ".inf", ".nan", "-1", "0x", "1__0", "null", "{}", "[]",
    "<<: 1", "\U0001f600", "1.5.5", "8642097531s",
)  # fmt: skip


@pytest.mark.parametrize("key", [field.name for field in msgspec.structs.fields(Kinds)])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:12])
def test_a_hostile_value_is_a_fault_or_a_value(key: str, value: str) -> None:
    """In the file and in the environment; never another exception, never a long text."""
    for text, environ in (
        (f"kinds: {{{key}: {value}}}", {}),
        ("", {f"PROXYWATCH_KINDS_{key.upper()}": value}),
    ):
        for fault in faults(lambda text=text, environ=environ: load(text, environ, KINDS)):  # type: ignore[misc]
            assert fault.place
            assert len(str(fault)) < 1000


@pytest.mark.parametrize("variable", SCHEMA.aliases)
@pytest.mark.parametrize("value", ["²", "٣", "-1", "99999", "9" * 6000, "x", " ", "\udcff"])
def test_a_hostile_short_name_is_a_fault_or_a_value(variable: str, value: str) -> None:
    """`SOCKS5_PORT=²` and its like."""
    if variable == "PROXY_NAME":
        load("", {variable: value}, SCHEMA)
        return
    with pytest.raises(ConfigError):
        load("", {variable: value}, SCHEMA)


def test_many_faults_make_a_bounded_text() -> None:
    """Fifty are told, the rest is counted."""
    text = "latency:\n" + "".join(f"  k{n}{'x' * 30}: 1\n" for n in range(15_000))
    with pytest.raises(ConfigError) as caught:
        load(text, {}, SCHEMA)
    assert len(str(caught.value)) < 20_000
    assert str(caught.value.faults[-1]) == "settings: 14950 more faults"


@given(st.text(alphabet="ab:-?,[]{}#&*!|>'\"%@` \n\t\\~01\x00é", max_size=60))
@example("\x85")
@example("﻿a: b")
def test_any_text_is_nodes_or_a_fault(text: str) -> None:
    """No other exception gets out."""
    assert all(fault.place.startswith("x.yml") for fault in faults(lambda: document.load(text, "x.yml")))
