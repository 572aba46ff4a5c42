"""Invariant: any answer gives an identity with an address and printable, short text, or ParseError.

python proof/fuzz/fuzz_exit_identity.py [SECONDS] [SEED]
"""

from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.probe.identity import agree, parse

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "exit"
_LONGEST = 64
_WORDS = (
    b'"',
    b"{",
    b"}",
    b":",
    b",",
    b"=",
    b"\n",
    b"null",
    b"true",
    b"1e999",
    b"\\u0000",
    b"\xc3",
    b"::",
    b"[",
    b"]",
)


def one(body: bytes) -> None:
    """Hold one input against the invariant."""
    with suppress(ParseError):
        seen = parse(body[:4096])
        assert str(ip_address(seen.address)) == seen.address
        for text in (seen.country, seen.code, seen.city, seen.server):
            assert len(text) <= _LONGEST
            assert text.isprintable()
        assert agree([seen]) == seen


def main() -> None:
    """Mutate the recorded answers."""
    fuzz(one, [path.read_bytes() for path in sorted(RECORDED.iterdir())], _WORDS)


if __name__ == "__main__":
    main()
