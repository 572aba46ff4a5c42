"""What every harness shares: recorded inputs, mutated for a while; or atheris, where it is installed.

An input that breaks an invariant is kept in `corpus/HARNESS/`; whatever is there is tried first, and
mutated too.
"""

import gc
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import FunctionType

KEPT = Path(__file__).parent / "corpus"
_WORDS = (b"\0", b"\n", b" ", b":", b"/", b"-1", b"99999999999999999999")


def fuzz(one: Callable[[bytes], None], corpus: Sequence[bytes], words: Sequence[bytes] = _WORDS) -> None:
    """Call `one` with mutations of the corpus, and print how many it took.

    The first argument of the command line is the time in seconds (10), the second the seed (0). With
    `atheris` as the first, that engine drives instead, watches which of our code an input reaches, and takes
    the rest of the command line.
    """
    if sys.argv[1:2] == ["atheris"] and find_spec("atheris"):
        import atheris  # noqa: PLC0415 - optional

        def another(data: bytes, most: int, seed: int) -> bytes:
            dice = Random(seed)
            return mutated(dice, [data, dice.choice(corpus)], words)[:most]

        for function in _ours():
            atheris.instrument_func(function)
        atheris.Setup([sys.argv[0], *sys.argv[2:]], one, custom_mutator=another)
        atheris.Fuzz()
    seconds, seed = (float(a) for a in (sys.argv[1:] + ["10", "0"][len(sys.argv) - 1 :])[:2])
    name = Path(sys.argv[0]).stem.removeprefix("fuzz_")
    kept = [path.read_bytes() for path in sorted((KEPT / name).glob("*"))]
    for data in kept:
        _try(one, data, name, seed)
    everything = [*corpus, *kept]
    dice = Random(seed)
    end = time.monotonic() + seconds
    count = len(kept)
    while time.monotonic() < end:
        for _ in range(100):
            _try(one, mutated(dice, everything, words), name, seed)
        count += 100
    print(f"{name}: {count} inputs, none broke the invariant")


def _ours() -> list[FunctionType]:
    """The functions of ours that were imported."""
    names = [name for name in sys.modules if name.startswith("proxywatch.")]
    return [it for it in gc.get_objects() if isinstance(it, FunctionType) and it.__module__ in names]


def _try(one: Callable[[bytes], None], data: bytes, name: str, seed: float) -> None:
    try:
        one(data)
    except BaseException:
        file = KEPT / name / hashlib.sha256(data).hexdigest()[:16]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        print(f"seed {seed:g}, input {data!r}, kept as {file}")
        raise


def mutated(dice: Random, corpus: Sequence[bytes], words: Sequence[bytes] = _WORDS) -> bytes:
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
                data[at:at] = dice.choice(words)
            case _:
                other = dice.choice(corpus)
                data[at:to] = other[: dice.randint(0, len(other))]
    return bytes(data)
