"""Durations, sizes and addresses, as people write them and as they are written back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.quantity import Address, Duration, Size, Url


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("2d", 172800), ("0s", 0)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """Every unit, and several together."""
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "30", 30, "s", "30 s", "-5s", "5S", "1m30", "nan", None, True, "99999d"]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    """A bare number too: its unit would be a guess."""
    with pytest.raises(ParseError, match="expected a duration"):
        Duration.parse(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [("1MB", 10**6), ("1MiB", 2**20), ("64KiB", 65536), ("1.5kB", 1500), ("12", 12), (1000, 1000), ("0", 0)],
)
def test_sizes_are_read(value: object, size: int) -> None:
    """Decimal and binary units, and plain bytes."""
    assert Size.parse(value) == size


@pytest.mark.parametrize("value", ["", "1mb", "-1", -1, "1 M", True, None, 1.5])
def test_what_is_no_size_is_refused(value: object) -> None:
    """An unknown unit is not guessed at."""
    with pytest.raises(ParseError, match="expected a size"):
        Size.parse(value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":9090", None, 9090),
        ("[::]:9090", "::", 9090),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:80", "localhost", 80),
    ],
)
def test_addresses_are_read(text: str, host: str | None, port: int) -> None:
    """Every address, one address, one name, any port."""
    address = Address.parse(text)
    assert (address.host, address.port, address.path) == (host, port, None)


def test_a_unix_socket_is_an_address() -> None:
    """With its path."""
    assert Address.parse("unix:/run/proxywatch.sock").path == "/run/proxywatch.sock"


@pytest.mark.parametrize(
    "value", ["", "9090", 9090, ":", ":x", ":65536", "::1:80", "[::1]", ":²", "unix:relative"]
)
def test_what_is_no_address_is_refused(value: object) -> None:
    """IPv6 goes into brackets; a port is there and in range."""
    with pytest.raises(ParseError, match="expected an address"):
        Address.parse(value)


@given(st.integers(0, 10**9))
def test_a_size_reads_back_as_it_was_written(size: int) -> None:
    """What the reference page shows can be pasted into a file."""
    assert Size.parse(str(Size(size))) == size


@given(st.integers(0, 10**8).map(lambda milliseconds: milliseconds / 1000))
def test_a_duration_reads_back_as_it_was_written(seconds: float) -> None:
    """The same for durations, to six digits."""
    assert Duration.parse(str(Duration(seconds))) == pytest.approx(seconds, rel=1e-5)


@given(st.text())
def test_any_text_is_a_quantity_or_a_parse_error(text: str) -> None:
    """No other exception escapes."""
    for kind in (Duration, Size, Address):
        try:
            kind.parse(text)
        except ParseError:
            continue


@pytest.mark.parametrize("text", ["http://a/", "https://a.test:8443/b?c={bytes}", "http://[2001:db8::1]/"])
def test_a_url(text: str) -> None:
    """As it stands."""
    assert Url.parse(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.test",
        "ftp://a/",
        "http://",
        "http://a b/",
        "http://a/\n",
        "http://[::1",
        "http://a:99999/",
        "http://ä/",
        7,
    ],
)
def test_no_url(text: object) -> None:
    """Another scheme, no host, or what does not belong into a URL."""
    with pytest.raises(ParseError, match="expected a URL"):
        Url.parse(text)


def test_a_url_with_a_user_is_not_quoted() -> None:
    """Its password would stand in labels and logs."""
    with pytest.raises(ParseError) as caught:
        Url.parse("http://me:geheim@a/")
    assert "geheim" not in str(caught.value)
