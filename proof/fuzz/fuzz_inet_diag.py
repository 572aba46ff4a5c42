"""Invariant: any row gives a socket of a known state, or ParseError.

python proof/fuzz/fuzz_inet_diag.py [SECONDS] [SEED]
"""

from contextlib import suppress
from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse import inet_diag
from proxywatch.parse.tcp_socket import STATES

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "sockets" / "inet_diag.hex"


def one(row: bytes) -> None:
    """Hold one input against the invariant."""
    with suppress(ParseError):
        assert inet_diag.parse(row).state in STATES


def main() -> None:
    """Mutate the recorded rows."""
    fuzz(one, [bytes.fromhex(row) for row in RECORDED.read_text().split()])


if __name__ == "__main__":
    main()
