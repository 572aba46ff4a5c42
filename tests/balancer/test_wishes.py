"""Wishes in user names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.request import Wishes
from proxywatch.balancer.wishes import listed, over, parse
from proxywatch.errors import ParseError


def test_the_documented_example() -> None:
    """User, country, city, session and ttl."""
    assert parse(b"alice-country-se-city-got-session-abc-ttl-30m") == (
        "alice",
        Wishes(country="se", asked="se", city="got", session="abc", ttl=1800.0),
    )


def test_nodes_and_servers_may_hold_dashes() -> None:
    """They run to the next known wish."""
    user, wishes = parse(b"alice-node-se-1-server-se-got-wg-001-country-UK")
    assert (user, wishes.node, wishes.server) == ("alice", "se-1", "se-got-wg-001")
    assert (wishes.country, wishes.asked) == ("gb", "uk")


def test_percent_encoded_names_are_the_same() -> None:
    """As they stand in URLs."""
    assert parse(b"alice%2Dcountry%2dse") == parse(b"alice-country-se")


def test_a_name_without_wishes() -> None:
    """And no name at all."""
    assert parse(b"alice") == ("alice", Wishes())
    assert parse(b"") == ("", Wishes())
    assert parse(b"-fallback-region-strategy-random") == ("", Wishes(fallback="region", strategy="random"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"a-colour-red", "unknown wish 'colour'"),
        (b"a-country-se-session-a-b", "unknown wish 'b'"),
        (b"a-country--session-x", "the wish country is empty"),
        (b"a-country", "the wish country is empty"),
        (b"a-node", "the wish node is empty"),
        (b"a-", "unknown wish ''"),
        (b"a-country-se-country-de", "the wish country is given twice"),
        (b"a-country-swe", "the wish country expects two letters"),
        (b"a-ttl-30", "the wish ttl expects a duration"),
        (b"a-ttl-90d", "the wish ttl is to lie between"),
        (b"a-strategy-fastest", "the wish strategy expects one of"),
        (b"a-fallback-all", "the wish fallback expects one of"),
        (b"a-session-\xc3\xa9", "the wish session holds characters"),
        (b"a%2", "followed by two hexadecimal digits"),
        (b"\xff", "not UTF-8"),
        (b"a\nb", "cannot be printed"),
        (b"a%0ab", "cannot be printed"),
        (b"a" * 256, "more than 255 bytes"),
    ],
)
def test_a_refusal_names_the_wish(name: bytes, message: str) -> None:
    """Empty, repeated, unknown: refused, never passed over."""
    with pytest.raises(ParseError, match=message):
        parse(name)


def test_a_listeners_wishes_fill_in_for_the_clients() -> None:
    """The client's own come first."""
    assert over(parse(b"a-session-x")[1], listed("country-se-city-got")) == Wishes(
        country="se", asked="se", city="got", session="x"
    )
    assert over(Wishes(country="de", asked="de"), listed("country-se")).country == "de"
    assert over(Wishes(), listed("country-se")) == listed("country-se")


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(name: bytes) -> None:
    """The user never holds a dash."""
    try:
        user, _ = parse(name)
    except ParseError:
        return
    assert "-" not in user
