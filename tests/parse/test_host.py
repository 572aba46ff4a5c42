"""Hosts in every spelling have one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.parse.host import canonical, packed


@pytest.mark.parametrize(
    "spelling",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "::ffff:127.0.0.1",
        "[::ffff:7f00:1]",
        "127.0.0.1.",
        "0:0:0:0:0:FFFF:7F00:0001",
    ],
)
def test_every_spelling_of_an_address_is_that_address(spelling: str) -> None:
    """None of them is left to be resolved as a name."""
    assert canonical(spelling) == "127.0.0.1"


def test_names_are_folded() -> None:
    """Lower case, without the dot of the root."""
    assert canonical("Example.COM.") == "example.com"
    assert canonical("_sip.a-b.example") == "_sip.a-b.example"
    assert packed("example.com") is None
    assert packed(canonical("[2001:DB8:0::5]")) == bytes.fromhex("20010db8000000000000000000000005")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "1.2.3.4.5",
        "256.1.1.1",
        "08.1",
        "example.0x7f",
        "4294967296",
        "fe80::1%eth0",
        "[::1",
        "::1]",
        "a b",
        "a\0b",
        "a/b",
        "a@b",
        "b\u00fccher.example",
        "-a.example",
        "a" * 64 + ".example",
        "a." * 130 + "a",
        "127.0.0.1\n",
        "1" * 5000,
    ],
)
def test_what_is_neither_name_nor_address_is_refused(text: str) -> None:
    """A label too long, a zone, characters that no name has."""
    with pytest.raises(ParseError):
        canonical(text)


@given(st.text(max_size=60))
def test_any_text_is_refused_or_stays_what_it_became(text: str) -> None:
    """Canonical is canonical."""
    try:
        host = canonical(text)
    except ParseError:
        return
    assert canonical(host) == host
