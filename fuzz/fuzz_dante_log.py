"""Invariant: a line of Dante's log, whole and cut at every byte, is a record, noise or a ParseError.

And a chunk of such lines is accounted for within the account's bounds, each line counted once; what the quick
way takes out of a line, the parser takes out of it too.
"""

import gzip
from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse import dante_log, dante_reason
from proxywatch.parse.dante_log import Closed, Opened
from proxywatch.state.dante_account import DanteAccount
from proxywatch.state.sessions import Sessions

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures" / "dante"
CAPACITY = 100
WORDS = (
    b" -> ", b": ", b"]: ", b"[: ", b"pass(1)", b"block(0)", b"tcp/connect", b"%", b"@",
    b"\0", b"\n", b"(", b".1",
)  # fmt: skip
account = DanteAccount(Sessions(lambda _endpoint, _at: False, capacity=CAPACITY))


def recorded() -> list[bytes]:
    """Lines of every kind."""
    lines: set[bytes] = set()
    for path in sorted(FIXTURES.glob("*.log.gz")):
        lines.update(gzip.decompress(path.read_bytes()).split(b"\n")[:4000])
    return sorted(line for line in lines if 0 < len(line) < 1000)


def parse(line: bytes) -> None:
    """One line, and its reason as the accounting judges it."""
    try:
        record = dante_log.parse(line)
    except ParseError:
        return
    if isinstance(record, Closed):
        dante_reason.sort(record.reason, passed=record.passed)
        dante_reason.of_dial(record.reason)
        assert dante_reason.of_refusal(record.reason) in dante_reason.REASONS


def agree(chunk: bytes) -> None:
    """The quick way and the parser."""
    for row in dante_log.split(chunk):
        if row[1]:
            record = dante_log.parse(row[0].partition(b"\n")[0])
            assert isinstance(record, Opened | Closed), row
            client, target = row[4] + row[8] + row[17], row[6] + row[12] + row[19]
            assert (record.client, record.target, record.pid) == (client, target, row[2]), row


def one(data: bytes) -> None:
    """A mutated line."""
    for cut in range(len(data) + 1):
        parse(data[:cut])
    agree(data + b"\n")
    before = account.lines
    account.take(data + b"\n")
    assert account.lines - before == data.count(b"\n") + 1
    assert len(account.sessions.connections) <= CAPACITY


if __name__ == "__main__":
    fuzz(one, recorded(), WORDS)
