"""Invariant: any text is a file of users, or is refused with its lines and without a hash.

python fuzz/fuzz_user_file.py [SECONDS] [SEED]
"""

from mutate import fuzz

from proxywatch.errors import ConfigError
from proxywatch.parse.user_file import parse

HASH = b"$2b$12$" + b"abcdefghijklmnopqrstu" * 2 + b"vwxyzABCDEF"
FILES = (
    b"alice:" + HASH + b"\n", b"# comment\n\nbob:" + HASH + b":role=read countries=se,uk\n",
    b"c:" + HASH + b":max_connections=50:bytes_per_second=1MB bytes_per_day=10GB\nd:" + HASH + b"\n",
)  # fmt: skip
WORDS = (
    b":",
    b"=",
    b",",
    b" ",
    b"\n",
    b"-",
    b"role=operate",
    b"countries=",
    b"bytes_per_month=1e9",
    b"\xc2\x85",
)


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    try:
        entries = parse(data.decode(errors="replace"))
    except ConfigError as error:
        assert error.faults
        assert HASH[8:].decode() not in str(error)
        return
    assert entries
    for name, entry in entries.items():
        assert name == entry.name
        assert "-" not in name
        assert min(entry.max_connections, entry.bytes_per_second, entry.bytes_per_day) >= 0


if __name__ == "__main__":
    fuzz(one, FILES, WORDS)
