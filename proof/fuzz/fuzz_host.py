"""Invariant: any text is refused, or has one canonical form that stays the same, and is an address or a name.

python fuzz/fuzz_host.py [SECONDS] [SEED]
"""

import socket
from contextlib import suppress

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse.host import canonical, packed

TEXTS = (
    b"127.0.0.1", b"127.1", b"2130706433", b"0x7f.0.0.1", b"0177.0.0.1", b"[::1]", b"::ffff:127.0.0.1",
    b"Example.COM.", b"xn--bcher-kva.example", b"fe80::1%eth0", b"1.2.3.4.", b"a_b.example", b"0x", b"a..b",
)  # fmt: skip
WORDS = (b".", b"..", b"0x", b"[", b"]", b":", b"::", b"%", b"255", b"256", b"00", b"\0", b"\xc2\xb2", b"-")


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    text = data.decode("latin-1")
    meant = None
    with suppress(OSError, ValueError):
        meant = socket.inet_aton(text) if text.isascii() and text.split() == [text] else None
    try:
        host = canonical(text)
    except ParseError:
        return
    assert canonical(host) == host
    if meant is not None:
        assert packed(host) == meant, "what a resolver takes for an address is that address"
    if (address := packed(host)) is not None:
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        assert socket.inet_pton(family, host) == address


if __name__ == "__main__":
    fuzz(one, TEXTS, WORDS)
