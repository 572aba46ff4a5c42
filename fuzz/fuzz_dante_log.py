"""Mutates recorded lines of Dante's log: SECONDS [SEED].

Invariant: every line, whole and cut at every byte, is a record, known noise, or a ParseError; nothing else
escapes. And a chunk of such lines is accounted for the same, line by line, as by the parser alone.
"""

import gzip
import random
import sys
import time
from pathlib import Path

from proxywatch.errors import ParseError
from proxywatch.parse import dante_log, dante_reason
from proxywatch.parse.dante_log import Closed
from proxywatch.state.dante_account import DanteAccount
from proxywatch.state.sessions import Sessions

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures" / "dante"
CAPACITY = 1000
TOKENS = [
    b" -> ",
    b": ",
    b"]: ",
    b"[: ",
    b"pass(1)",
    b"block(0)",
    b"tcp/connect",
    b"%",
    b"@",
    b"\0",
    b"\\n",
    b"(",
    b".1",
]


def recorded() -> list[bytes]:
    """Lines of every kind."""
    lines: set[bytes] = set()
    for path in sorted(FIXTURES.glob("*.log.gz")):
        lines.update(gzip.decompress(path.read_bytes()).split(b"\n")[:4000])
    return sorted(line for line in lines if len(line) < 1000)


def mutate(line: bytes, dice: random.Random) -> bytes:
    """One to three changes."""
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(line) + 1)
        to = min(len(line), at + dice.randrange(12))
        change = dice.randrange(4)
        if change == 0:
            line = line[:at] + line[to:]
        elif change == 1:
            line = line[:at] + dice.randbytes(dice.randrange(1, 4)).replace(b"\n", b"") + line[at:]
        elif change == 2:  # noqa: PLR2004
            line = line[:at] + dice.choice(TOKENS) + line[to:]
        else:
            line = line[:at] + line[at:to] * 3 + line[to:]
    return line


def check(line: bytes) -> None:
    """Parse a line, and judge its reason as the accounting does."""
    try:
        record = dante_log.parse(line)
    except ParseError:
        return
    if isinstance(record, Closed):
        dante_reason.sort(record.reason, passed=record.passed)
        dante_reason.of_dial(record.reason)
        reason = dante_reason.of_refusal(record.reason)
        assert reason in dante_reason.REASONS, reason


def main(seconds: float, seed: int) -> None:
    """Mutate for some seconds, and print how many lines were tried."""
    dice = random.Random(seed)
    lines = recorded()
    account = DanteAccount(Sessions(lambda _endpoint, _at: False, capacity=CAPACITY))
    tried = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        line = mutate(dice.choice(lines), dice)
        for cut in range(len(line) + 1):
            check(line[:cut])
        account.take(line.replace(b"\n", b"") + b"\n")
        tried += len(line) + 2
    assert len(account.sessions.connections) <= CAPACITY
    print(f"{tried} lines tried from seed {seed}, nothing escaped")


def atheris(arguments: list[str]) -> None:
    """The same invariant, guided by coverage."""
    import atheris as guided  # noqa: PLC0415 # type: ignore[import-not-found]

    guided.Setup(arguments, check)
    guided.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--atheris"]:
        atheris(sys.argv[:1] + sys.argv[2:])
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0, int(sys.argv[2]) if sys.argv[2:] else 1)
