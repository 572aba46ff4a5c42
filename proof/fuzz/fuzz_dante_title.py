"""Invariant: any memory of a command line gives a title or None, and never more slots in use than there are.

python proof/fuzz/fuzz_dante_title.py [SECONDS] [SEED]
"""

from pathlib import Path

from mutate import fuzz

from proxywatch.dante import title as dante_title

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "dante_title"


def one(line: bytes) -> None:
    """Hold one input against the invariant."""
    title = dante_title.parse(line)
    if title is not None:
        assert title.child in dante_title.CHILDREN
        assert (title.used is None) == (title.slots is None)
        assert title.used is None or title.slots is None or 0 <= title.used <= title.slots


def main() -> None:
    """Mutate the recorded titles."""
    fuzz(one, [line for file in sorted(RECORDED.iterdir()) for line in file.read_bytes().splitlines()])


if __name__ == "__main__":
    main()
