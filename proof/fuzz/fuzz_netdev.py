"""Invariant: any bytes give devices with counters that are no negative numbers, or ParseError.

python proof/fuzz/fuzz_netdev.py [SECONDS] [SEED]
"""

from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse import netdev

RECORDED = [
    b"Inter-|   Receive  |  Transmit\n face |bytes\n"
    b"  eth0: 143292 2152 0 0 0 0 0 0 52239579 3594 0 0 0 0 0 0\n"
    b"   wg0: 4897955205 3449285 1 2 0 0 0 0 53627037 908901 3 4 0 0 0 0\n",
    b"0x1091\n",
    b"7\n",
    b"ifIndex                         \t2\nIp6OutMcastPkts                 \t4\n",
]


def one(content: bytes) -> None:
    """Hold one input against the invariant."""
    with suppress(ParseError):
        for name, device in netdev.parse(content).items():
            assert device.name == name
            assert all(0 <= counter < 10**20 for counter in astuple(device)[1:])
    for parse in (netdev.attribute, netdev.multicast6):
        with suppress(ParseError):
            assert 0 <= parse(content) < 10**20


def main() -> None:
    """Mutate recorded files of /proc and /sys."""
    with suppress(FileNotFoundError):
        RECORDED.append(Path("/proc/net/dev").read_bytes())
    fuzz(one, RECORDED)


if __name__ == "__main__":
    main()
