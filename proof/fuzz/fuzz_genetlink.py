"""Invariant: any bytes give a device, a family's number, or an error of ours that quotes none of them.

python proof/fuzz/fuzz_genetlink.py [SECONDS] [SEED]
"""

from base64 import b64encode
from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ProxywatchError
from proxywatch.wireguard.genetlink import parse_device, parse_family

BUILT = Path(__file__).parents[2] / "tests" / "fixtures" / "genetlink"
SECRET = b64encode(bytes(range(0xC0, 0xE0))).decode()[:30]
LONGEST = 120


def one(content: bytes) -> None:
    """Hold one input against the invariant."""
    for parse in (parse_device, parse_family):
        told = ""
        try:
            parse(memoryview(content))
        except ProxywatchError as error:
            told = str(error)
        assert len(told) < LONGEST
        assert SECRET not in told


def main() -> None:
    """Mutate answers that were built as the kernel's."""
    fuzz(one, [file.read_bytes() for file in sorted(BUILT.iterdir())])


if __name__ == "__main__":
    main()
