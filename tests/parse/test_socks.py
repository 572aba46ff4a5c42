"""SOCKS, read whole and byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.parse import socks
from proxywatch.parse.host import canonical
from proxywatch.parse.socks import Request


def test_a_conversation_of_a_client_with_credentials() -> None:
    """Greeting, user and password, request; each takes its own bytes and leaves the rest."""
    data = b"\5\2\0\2" + b"\1\5alice\6secret" + b"\5\1\0\3\x0bExample.com\1\xbb" + b"PING"
    methods, end = socks.greeting(data) or (b"", 0)
    assert methods == b"\0\2"
    data = data[end:]
    pair, end = socks.credentials(data) or ((b"", b""), 0)
    assert pair == (b"alice", b"secret")
    data = data[end:]
    request, end = socks.request(data) or (None, 0)
    assert request == Request(socks.CONNECT, "example.com", 443)
    assert data[end:] == b"PING"


@pytest.mark.parametrize(
    ("name", "seen"),
    [(b"203.0.113.5", b"\1\xcb\0\x71\5"), (b"[2001:db8::5]", b"\4\x20\1\x0d\xb8" + b"\0" * 11 + b"\5"),
     (b"2001:db8::5", b"\4\x20\1\x0d\xb8" + b"\0" * 11 + b"\5"), (b"a.example", b"\3\x09a.example")],
)  # fmt: skip
def test_a_literal_in_a_names_place_goes_out_as_an_address(name: bytes, seen: bytes) -> None:
    """Clients write addresses as names, bracketed too."""
    request, _ = socks.request(b"\5\1\0\3" + bytes([len(name)]) + name + b"\0\x50") or (None, 0)
    assert request is not None
    assert socks.connect(request.host, request.port) == b"\5\1\0" + seen + b"\0\x50"


def test_empty_words_are_a_pair() -> None:
    """RFC 1929 has 1 to 255 bytes; clients send none."""
    assert socks.credentials(b"\1\0\0") == ((b"", b""), 3)


def test_version_4_with_an_address_and_with_a_name() -> None:
    """The name comes after the user id (4a)."""
    assert socks.request4(b"\4\1\0\x50\xcb\0\x71\5alice\0") == (Request(1, "203.0.113.5", 80, b"alice"), 14)
    assert socks.request4(b"\4\1\0\x50\0\0\0\1\0a.example\0X") == (Request(1, "a.example", 80, b""), 19)


@pytest.mark.parametrize(
    "data", [b"\4\1\0\x50\xcb\0\x71\5" + b"a" * 256, b"\4\1\0\x50\0\0\0\1\0" + b"a" * 256]
)
def test_what_never_ends_is_refused(data: bytes) -> None:
    """A user id or name has a bound."""
    with pytest.raises(ParseError):
        socks.request4(data)


@pytest.mark.parametrize("data", [b"\5\1\0\2", b"\5\1\0\3\0\0\x50", b"\5\1\0\3\1\xff\0\x50", b"\4"])
def test_requests_that_are_none(data: bytes) -> None:
    """An unknown type, an empty name, a name that is not ASCII, another version."""
    with pytest.raises(ParseError):
        socks.request(data + b"\0" * 20)


def test_replies_of_nodes() -> None:
    """The bound address may be of any type, a name too."""
    assert socks.answer(b"\5\0\0\1\x7f\0\0\1\4\x38") == (socks.Answer(0, "127.0.0.1", 1080), 10)
    assert socks.answer(b"\5\5\0\3\3a!b\0\0rest") == (socks.Answer(5, "", 0), 10)
    assert socks.answer(b"\5\0\0\4" + b"\0" * 15 + b"\1\4\x38") == (socks.Answer(0, "::1", 1080), 22)
    for cut in range(10):
        assert socks.answer(b"\5\5\0\3\3a!b\0\0"[:cut]) is None


def test_a_datagrams_header() -> None:
    """Where it goes and where its payload begins; fragments are refused."""
    data = socks.datagram_header("203.0.113.5", 53) + b"query"
    header = socks.datagram(data)
    assert (header.host, header.port, data[header.start :]) == ("203.0.113.5", 53, b"query")
    for bad in (b"\0\0\1" + data[3:], data[:6], b"", b"\1" + data[1:]):
        with pytest.raises(ParseError):
            socks.datagram(bad)


_HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str).map(canonical),
    st.from_regex(r"[a-z][a-z0-9]{0,9}(\.[a-z][a-z0-9]{0,9}){0,3}", fullmatch=True),
)


@given(_HOSTS, st.integers(0, 65535), st.binary(max_size=9))
def test_what_is_written_is_read(host: str, port: int, rest: bytes) -> None:
    """And ends where it ends; byte by byte it is incomplete until then."""
    data = socks.connect(host, port)
    assert socks.request(data + rest) == (Request(1, host, port), len(data))
    assert all(socks.request(data[:cut]) is None for cut in range(len(data)))


@given(st.binary(max_size=255), st.binary(max_size=255))
def test_credentials_of_any_bytes(user: bytes, password: bytes) -> None:
    """As nodes are sent them and clients send them."""
    data = socks.login(user, password)
    assert socks.credentials(data) == ((user, password), len(data))
