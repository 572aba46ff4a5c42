"""What the kernel tells about devices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.parse import netdev
from proxywatch.parse.netdev import Device

_TITLES = b"Inter-|   Receive            |  Transmit\n face |bytes    packets errs drop ...\n"
_RECORDED = _TITLES + (
    b"   veb: 5794840954 3878817 0 0 0 0 0 0 127424296 909096 0 0 0 0 0 0\n"
    b"   wg0: 4897955205 3449285 1 2 0 0 0 0 53627037  908901 3 4 0 0 0 0\n"
)


def test_recorded_counters_above_32_bits() -> None:
    """Each in its place."""
    assert netdev.parse(_RECORDED)["wg0"] == Device("wg0", 4897955205, 3449285, 1, 2, 53627037, 908901, 3, 4)


@pytest.mark.parametrize("name", ["wg0:1", "a:b:", "wg-mullvad.se", "wg0x"])
def test_names_end_at_the_last_colon(name: str) -> None:
    """A name may hold colons; another that only begins alike is another."""
    devices = netdev.parse(_RECORDED.replace(b"veb", name.encode()))
    assert set(devices) == {name, "wg0"}


@pytest.mark.parametrize(
    "line", [b"wg0 1 2", b"wg0: 1 2 3", b"wg0: " + b"x " * 16, b"wg0: " + b"-1 " * 16, b"wg0:" + b" 9" * 8000]
)
def test_a_line_that_is_none_is_refused(line: bytes) -> None:
    """The message quotes nothing."""
    with pytest.raises(ParseError):
        netdev.parse(_TITLES + line)


def test_attributes_are_decimal_or_hexadecimal() -> None:
    """As `ifindex` and `flags` are."""
    assert netdev.attribute(b"7\n") == 7
    assert netdev.attribute(b"0x1091\n") == 0x1091
    for content in (b"", b"\n", b"-1\n", b"0x\n", b"1 2\n"):
        with pytest.raises(ParseError):
            netdev.attribute(content)


def test_multicast_packets_of_version_6() -> None:
    """Recorded of a device that had sent four router solicitations."""
    recorded = (
        b"ifIndex                         \t2\nIp6InMcastPkts                  \t9\n"
        b"Ip6OutMcastPkts                 \t4\nIp6OutMcastOctets               \t192\n"
    )
    assert netdev.multicast6(recorded) == 4
    with pytest.raises(ParseError):
        netdev.multicast6(b"ifIndex 2\n")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Never another exception."""
    for parse in (
        netdev.parse,
        netdev.attribute,
        netdev.multicast6,
        lambda line: netdev.parse(_TITLES + line),
    ):
        try:
            parse(content)
        except ParseError:
            continue
