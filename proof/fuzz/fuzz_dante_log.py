"""Invariant: a line of Dante's log, whole and cut at every byte, is a record, noise or a ParseError.

And a chunk of such lines is counted within all bounds, each line once; the quick way through it and the
parser come to the same totals.
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
log = DanteLog(Sessions(lambda _endpoint, _at: False, capacity=CAPACITY))
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
    """Count lines without the quick way."""
    for line in chunk[:-1].split(b"\n"):
        try:
            record = dante_log.parse(line.removesuffix(b"\r"))
        except ParseError:
            continue
        if record is not None:
            slow.add(record)


def connections(sessions: Sessions) -> list[tuple[object, ...]]:
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
    """Both count the same, but for the last digits of a sum and the order in a chunk."""
    quick = log.sessions
    assert quick.totals == slow.totals
    assert quick.settings == slow.settings
    assert connections(quick) == connections(slow)
    assert quick.associations.save() == slow.associations.save()
    assert quick.counting.durations.counts == slow.counting.durations.counts
    assert quick.counting.setups.counts == slow.counting.setups.counts
    assert quick.counting.by_bytes.save() == slow.counting.by_bytes.save()
    assert quick.counting.window.save() == slow.counting.window.save()


def one(data: bytes) -> None:
    """A mutated line."""
    for cut in range(len(data) + 1):
        parse(data[:cut])
    before, chunk = log.lines, data + b"\n"
    log.take(chunk)
    slowly(chunk)
    agree()
    assert log.lines - before == data.count(b"\n") + 1
    table = log.sessions.table
    assert len(table.last) <= CAPACITY
    assert max(len(table.doubtful), len(table.given_up)) <= CAPACITY // 4


if __name__ == "__main__":
    fuzz(one, recorded(), WORDS)
