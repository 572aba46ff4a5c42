"""What the services say: their shapes, the majority, and nothing but ParseError for the rest."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.probe.identity import Identity, agree, parse

FIXTURES = Path(__file__).parents[1] / "fixtures/exit"
EXIT = "193.138.7.148"
ADDRESSES = st.ip_addresses(v=4).map(str)
TEXT = st.text(max_size=80)
IDENTITIES = st.builds(
    Identity,
    st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3"]),
    TEXT,
    TEXT,
    TEXT,
    TEXT,
    st.none() | st.booleans(),
)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("mullvad.json", Identity(EXIT, "Sweden", "se", "Gothenburg", "se-got-wg-001", vpn=True)),
        ("mullvad_elsewhere.json", Identity("198.51.100.7", "Germany", vpn=False)),
        ("trace.txt", Identity(EXIT, code="se")),
        ("ipify.json", Identity(EXIT)),
        ("plain.txt", Identity("2a03:1b20:5:f011::a01e")),
        ("ipinfo.json", Identity(EXIT, code="se", city="Göteborg")),
        ("ifconfig.json", Identity(EXIT, "Sweden", "se", "Gothenburg")),
    ],
)
def test_the_shapes_of_services(file: str, expected: Identity) -> None:
    """Each kind of answer gives what it holds, and no more."""
    assert parse((FIXTURES / file).read_bytes()) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"ip": 7}',
        b'{"ip": "x"}',
        b"<html></html>",
        b"ip=",
        b"\xff",
        b"1.2.3",
        b"{" * 9999,
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    """A captive portal, a shape that we do not know, an address that is none."""
    with pytest.raises(ParseError):
        parse(body)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_never_another_error(body: bytes) -> None:
    """An identity or ParseError, whatever comes."""
    try:
        parse(body)
    except ParseError:
        return


@given(address=ADDRESSES, country=TEXT, city=TEXT, server=TEXT)
def test_text_is_fit_for_a_label(address: str, country: str, city: str, server: str) -> None:
    """Whatever a hostile service writes, labels are short and on one line."""
    body = {"ip": address, "country": country, "city": city, "mullvad_exit_ip_hostname": server}
    seen = parse(json.dumps(body).encode())
    assert seen.address == address
    for text in (seen.country, seen.city, seen.server, seen.code):
        assert len(text) <= 64
        assert text.isprintable()


def test_the_majority_wins_and_its_witnesses_are_merged() -> None:
    """One service that sees something else is outvoted; what is known comes from the first that knows."""
    seen = agree(
        [
            Identity("192.0.2.9", city="Nowhere"),
            Identity(EXIT, "Sweden", city="Gothenburg", vpn=False),
            Identity(EXIT, code="se", city="Göteborg", vpn=True),
        ]
    )
    assert seen == Identity(EXIT, "Sweden", "se", "Gothenburg", vpn=False)


@given(st.lists(IDENTITIES, min_size=1, max_size=5))
def test_the_address_is_one_that_most_saw(identities: list[Identity]) -> None:
    """And the first among equals."""
    addresses = [identity.address for identity in identities]
    chosen = agree(identities).address
    assert addresses.count(chosen) == max(map(addresses.count, addresses))
    assert chosen == max(addresses, key=addresses.count)
