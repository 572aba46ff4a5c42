"""Invariant: each reader of SOCKS takes whole messages alone, whatever follows, or refuses.

What it makes of a message is the same byte by byte and glued to more, and a request that was read is one that
can be written again.

python fuzz/fuzz_socks.py [SECONDS] [SEED]
"""

from collections.abc import Callable

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse import socks

MESSAGES = (
    b"\5\2\0\2", b"\5\0", b"\1\5alice\6secret", b"\1\0\0", b"\5\1\0\1\xcb\0\x71\5\0\x50",
    b"\5\1\0\3\x0bexample.com\1\xbb", b"\5\1\0\4" + b"\x20\1\x0d\xb8" + b"\0" * 11 + b"\5\0\x50",
    b"\5\1\0\3\x05[::1]\0\x50", b"\5\0\0\1\0\0\0\0\0\0", b"\5\5\0\3\4a.bc\0\0", b"\1\0", b"\5\xff",
    b"\4\1\0\x50\xcb\0\x71\5alice\0", b"\4\1\0\x50\0\0\0\1\0example.com\0", b"\0\0\0\1\xcb\0\x71\5\0\x35data",
)  # fmt: skip
READERS: tuple[Callable[[bytes], tuple[object, int] | None], ...] = (
    socks.greeting, socks.credentials, socks.request, socks.request4, socks.answer, socks.choice,
    socks.verdict,
)  # fmt: skip


def read(
    reader: Callable[[bytes], tuple[object, int] | None], data: bytes
) -> tuple[object, int] | str | None:
    """What a reader says."""
    try:
        return reader(data)
    except ParseError:
        return "refused"


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    for reader in READERS:
        whole = read(reader, data)
        if isinstance(whole, tuple):
            message, end = whole
            assert 0 < end <= len(data)
            assert read(reader, data[:end]) == whole
            assert read(reader, data + b"more") == whole
            assert all(read(reader, data[:cut]) is None for cut in range(end))
            if isinstance(message, socks.Request) and reader is socks.request:
                written = socks.connect(message.host, message.port, message.command)
                assert socks.request(written) == (message, len(written))
        elif whole is None:
            assert all(read(reader, data[:cut]) is None for cut in range(len(data)))
    try:
        header = socks.datagram(data)
    except ParseError:
        return
    written = socks.datagram_header(header.host, header.port)
    assert socks.datagram(written)[:2] == header[:2]


if __name__ == "__main__":
    fuzz(one, MESSAGES)
