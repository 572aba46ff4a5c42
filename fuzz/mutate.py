"""What every harness shares: recorded inputs, mutated for a while; or atheris, where it is installed."""

import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from random import Random


def fuzz(one: Callable[[bytes], None], corpus: Sequence[bytes]) -> None:
    """Call `one` with mutations of the corpus, and print how many it took.

    The first argument of the command line is the time in seconds (10), the second the seed (0). With atheris
    as the first, that engine drives instead, and takes the rest of the command line.
    """
    if sys.argv[1:2] == ["atheris"] and find_spec("atheris"):
        import atheris  # noqa: PLC0415 - optional

        atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
        atheris.Fuzz()
    seconds, seed = (float(a) for a in (sys.argv[1:] + ["10", "0"][len(sys.argv) - 1 :])[:2])
    dice = Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        for _ in range(1000):
            data = mutated(dice, corpus)
            try:
                one(data)
            except BaseException:
                print(f"seed {seed:g}, input {data!r}")
                raise
        count += 1000
    print(f"{sys.argv[0]}: {count} inputs, none broke the invariant")


def mutated(dice: Random, corpus: Sequence[bytes]) -> bytes:
    """An input with a few bytes changed, cut, repeated, or grafted from another."""
    data = bytearray(dice.choice(corpus))
    for _ in range(dice.randint(0, 4)):
        at, to = sorted(dice.randint(0, len(data)) for _ in range(2))
        match dice.randrange(5):
            case 0:
                data[at:to] = b""
            case 1:
                data[at:at] = data[at:to]
            case 2:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case 3:
                data[at:at] = dice.choice((b"\0", b"\n", b" ", b":", b"/", b"-1", b"99999999999999999999"))
            case _:
                other = dice.choice(corpus)
                data[at:to] = other[: dice.randint(0, len(other))]
    return bytes(data)
