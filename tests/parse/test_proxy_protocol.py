"""The PROXY protocol's header, as its specification gives it."""

import pytest

from proxywatch.errors import ParseError
from proxywatch.parse.proxy_protocol import SIGNATURE, Source, header

_V2 = SIGNATURE + b"\x21\x11\0\x0c" + b"\xc0\0\2\1\xc0\0\2\2\4\0\4\x38"


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1024 1080\r\n", Source("192.0.2.1", 1024)),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1024 1080\r\n", Source("2001:db8::1", 1024)),
        (b"PROXY UNKNOWN\r\n", None),
        (_V2, Source("192.0.2.1", 1024)),
        (SIGNATURE + b"\x20\0\0\0", None),
        (
            SIGNATURE + b"\x21\x21\0\x28" + b"\x20\1\x0d\xb8" * 8 + b"\4\0\4\x38" + b"\4\0\1\0",
            Source("2001:db8:" * 3 + "2001:db8", 0),
        ),
    ],
)
def test_headers(data: bytes, source: Source | None) -> None:
    """Whole, with more behind it, and byte by byte."""
    told = header(data + b"\5\1\0")
    assert told is not None
    assert told[1] == len(data)
    assert (told[0] and told[0].host) == (source and source.host)
    assert all(header(data[:cut]) is None for cut in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"\5\1\0",
        b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x31\x11\0\x0c" + b"\0" * 12,
        SIGNATURE + b"\x21\x11\0\x04" + b"\0" * 4,
        SIGNATURE + b"\x21\x11\xff\xff",
        b"\r\n\r\nGET",
    ],
)
def test_what_is_no_header(data: bytes) -> None:
    """Another beginning, a bad address, a bad length."""
    with pytest.raises(ParseError):
        header(data)
