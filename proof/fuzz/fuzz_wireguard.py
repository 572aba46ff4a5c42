"""Invariant: any bytes give a device or an error of ours, and what stood where a secret stands is in neither.

python proof/fuzz/fuzz_wireguard.py [SECONDS] [SEED]
"""

from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ProxywatchError
from proxywatch.wireguard.device import parse_dump, parse_uapi

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "wireguard"
SECRET = b"@PRIVATE@"
LONGEST = 100


def one(content: bytes) -> None:
    """Hold one input against the invariant; what is no whole line of a secret may not be known as one."""
    for parse, secret in ((parse_uapi, b"private_key=" + SECRET + b"\n"), (parse_dump, SECRET + b"\t")):
        buffer = bytearray(secret + content.replace(b"@", b""))  # nowhere else may it come about
        try:
            shown = repr(parse(memoryview(buffer)))
        except ProxywatchError as error:
            shown = str(error)
            assert len(shown) < LONGEST
        assert SECRET not in buffer
        assert SECRET.decode() not in shown


def main() -> None:
    """Mutate the recorded answers."""
    fuzz(one, [file.read_bytes() for file in sorted(RECORDED.iterdir()) if file.suffix in {".uapi", ".dump"}])


if __name__ == "__main__":
    main()
