"""Invariant: any table gives sockets of known states, or ParseError.

python proof/fuzz/fuzz_socket_table.py [SECONDS] [SEED]
"""

from contextlib import suppress
from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse import socket_table
from proxywatch.parse.tcp_socket import STATES

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "sockets"


def one(table: bytes) -> None:
    """Hold one input against the invariant."""
    with suppress(ParseError):
        for socket in socket_table.parse(table.splitlines(keepends=True), 1080):
            assert socket.state in STATES
            assert socket.inode >= 0


def main() -> None:
    """Mutate the recorded lines."""
    lines = (RECORDED / "tcp.txt").read_bytes().splitlines(keepends=True)
    fuzz(one, [*lines, (RECORDED / "tcp6.txt").read_bytes()])


if __name__ == "__main__":
    main()
