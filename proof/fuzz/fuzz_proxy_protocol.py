"""Invariant: a header of the PROXY protocol is refused, or ends at the same byte whatever follows it.

python fuzz/fuzz_proxy_protocol.py [SECONDS] [SEED]
"""

import ipaddress

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse.proxy_protocol import SIGNATURE, header

HEADERS = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1024 1080\r\n", b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 x\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1024 1080\r\n",
    SIGNATURE + b"\x21\x11\0\x0c" + b"\xc0\0\2\1\xc0\0\2\2\4\0\4\x38", SIGNATURE + b"\x20\0\0\0",
    SIGNATURE + b"\x21\x21\0\x24" + b"\x20\1\x0d\xb8" * 8 + b"\4\0\4\x38",
)  # fmt: skip


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    try:
        told = header(data)
    except ParseError:
        return
    if told is None:
        return
    source, end = told
    assert 0 < end <= len(data)
    assert header(data[:end]) == header(data + b"more") == told
    assert all(header(data[:cut]) is None for cut in range(end))
    if source:
        assert str(ipaddress.ip_address(source.host)) == source.host


if __name__ == "__main__":
    fuzz(one, HEADERS)
