"""Invariant: a line of Dante's log, whole and cut at every byte, is a record, noise or a ParseError.

And a chunk of such lines is accounted for within the account's bounds, each line counted once; the quick way
through it and the parser come to the same account.
"""

import gzip
from pathlib import Path

from mutate import fuzz

from proxywatch.dante import line as dante_log
from proxywatch.dante import reason
from proxywatch.dante.connections import Connection
from proxywatch.dante.log import DanteLog
from proxywatch.dante.records import Closed
from proxywatch.dante.sessions import Sessions
from proxywatch.errors import ParseError

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures" / "dante"
CAPACITY = 100
WORDS = (
    b" -> ", b": ", b"]: ", b"[: ", b"pass(1)", b"block(0)", b"tcp/connect", b"%", b"@",
    b"\0", b"\n", b"(", b".1",
)  # fmt: skip
account = DanteLog(Sessions(lambda _endpoint, _at: False, capacity=CAPACITY))
slow = Sessions(lambda _endpoint, _at: False, capacity=CAPACITY)


def recorded() -> list[bytes]:
    """Lines of every kind, and as many runs of some, in which sessions begin and end."""
    lines: set[bytes] = set()
    for path in sorted(FIXTURES.rglob("*.log.gz")):
        first = gzip.decompress(path.read_bytes()).split(b"\n")[:4000]
        lines.update(first)
        lines.update(b"\n".join(first[start : start + 8]) for start in range(0, len(first), 8))
    return sorted(line for line in lines if 0 < len(line) < 2000)


def parse(line: bytes) -> None:
    """One line, and its reason as the accounting judges it."""
    try:
        record = dante_log.parse(line)
    except ParseError:
        return
    if isinstance(record, Closed):
        reason.sort(record.reason, passed=record.passed)
        reason.of_dial(record.reason)
        assert reason.of_refusal(record.reason) in {*reason.REASONS, None}


def slowly(chunk: bytes) -> None:
    """Account for lines without the quick way."""
    for line in chunk[:-1].split(b"\n"):
        try:
            record = dante_log.parse(line)
        except ParseError:
            continue
        if record is not None:
            slow.add(record)


def told(sessions: Sessions) -> list[tuple[object, ...]]:
    """Every connection, its times without the digits in which two ways to add them differ."""
    table = sessions.table
    found: list[tuple[object, ...]] = [("last", key, *exact(it)) for key, it in table.last.items()]
    for name, places in (("doubtful", table.doubtful), ("given up", table.given_up)):
        found += [(name, key, *exact(it)) for key, some in places.items() for it in some]
    return found


def exact(it: Connection) -> tuple[object, ...]:
    """What is told of one."""
    times = round(it.accepted, 4), round(it.doubted, 4)
    return (*times, it.origin, it.outcome, it.command, it.pid, it.lost, it.cause)


def agree() -> None:
    """Both accounts are the same, but for the last digits of a sum and the order in a chunk."""
    quick = account.sessions
    assert quick.totals == slow.totals
    assert quick.settings == slow.settings
    assert told(quick) == told(slow)
    assert quick.associations.save() == slow.associations.save()
    assert (quick.durations.counts, quick.setups.counts) == (slow.durations.counts, slow.setups.counts)
    assert quick.by_bytes.save() == slow.by_bytes.save()
    assert quick.window.save() == slow.window.save()


def one(data: bytes) -> None:
    """A mutated line."""
    for cut in range(len(data) + 1):
        parse(data[:cut])
    before, chunk = account.lines, data + b"\n"
    account.take(chunk)
    slowly(chunk)
    agree()
    assert account.lines - before == data.count(b"\n") + 1
    table = account.sessions.table
    assert len(table.last) <= CAPACITY
    assert max(len(table.doubtful), len(table.given_up)) <= CAPACITY // 4


if __name__ == "__main__":
    fuzz(one, recorded(), WORDS)
