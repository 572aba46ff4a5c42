"""Invariant: any text gives a quantity that reads back the same from how it is shown, or ParseError.

python proof/fuzz/fuzz_quantity.py [SECONDS] [SEED]
"""

from contextlib import suppress

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.quantity import Address, Duration, Size, Url

TEXTS = (
    b"500ms", b"30s", b"5m", b"1h30m", b"2.5d", b"1MB", b"64KiB", b"1000000", b":9090", b"[::1]:9090",
    b"127.0.0.1:0", b"unix:/run/proxywatch.sock", b"https://example.org/", b"http://user:secret@host/",
)  # fmt: skip


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    text = data.decode(errors="surrogateescape")
    with suppress(ParseError):
        size = Size.parse(text)
        assert Size.parse(str(size)) == size
    with suppress(ParseError):
        assert Duration.parse(text) >= 0
    with suppress(ParseError):
        address = Address.parse(text)
        assert address.path or 0 <= address.port <= 65535
    try:
        Url.parse(text)
    except ParseError as error:
        assert "secret@" not in str(error)


def main() -> None:
    """Mutate quantities as people write them."""
    fuzz(one, TEXTS)


if __name__ == "__main__":
    main()
