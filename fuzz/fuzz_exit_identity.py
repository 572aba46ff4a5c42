"""Invariant: parse() returns an identity with an address and printable, short text, or raises ParseError.

    python fuzz/fuzz_exit_identity.py [SECONDS] [SEED]

Real answers are mutated for so many seconds. Under atheris (`pip install atheris`) it is guided by coverage.
"""

import random
import sys
import time
from ipaddress import ip_address
from pathlib import Path

from proxywatch.errors import ParseError
from proxywatch.parse.exit_identity import agree, parse

SEEDS = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "tests/fixtures/exit").iterdir())]
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


def check(body: bytes) -> None:
    """The invariant for one input."""
    try:
        seen = parse(body)
    except ParseError:
        return
    assert str(ip_address(seen.address)) == seen.address
    assert all(
        len(text) <= _LONGEST and text.isprintable()
        for text in (seen.country, seen.code, seen.city, seen.server)
    )
    assert agree([seen]) == seen


def mutate(body: bytes, dice: random.Random) -> bytes:
    """A few cuts, swaps and insertions."""
    data = bytearray(body)
    for _ in range(dice.randint(1, 6)):
        at = dice.randint(0, len(data))
        match dice.randrange(4):
            case 0:
                data[at : at + dice.randint(1, 20)] = b""
            case 1:
                data[at:at] = dice.choice(_WORDS)
            case 2:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case _:
                data[at:at] = data[: dice.randint(0, len(data))][:200]
    return bytes(data[:4096])


def main() -> None:
    """Mutate for the given seconds, print the count."""
    arguments = dict(enumerate(sys.argv))
    seconds, seed = float(arguments.get(1, 5)), int(arguments.get(2, random.randrange(2**32)))
    dice, count, end = random.Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        body = mutate(dice.choice(SEEDS), dice)
        try:
            check(body)
        except Exception:
            print(f"seed {seed}, input {count}: {body!r}", file=sys.stderr)
            raise
        count += 1
    print(f"fuzz_exit_identity: {count} inputs, seed {seed}")


if __name__ == "__main__":
    try:
        import atheris
    except ImportError:
        main()
    else:
        atheris.Setup(sys.argv, check)
        atheris.Fuzz()
