"""Generic netlink, against the kernel of this machine."""

import struct

import pytest

from proxywatch.errors import SourceError
from proxywatch.source import genetlink
from proxywatch.wireguard.genetlink import family_request, parse_family
from support.netlink_bytes import attribute, message


def test_a_family_that_every_kernel_has() -> None:
    """The controller itself has the number 16."""
    buffer = bytearray(4096)
    size = genetlink.ask(family_request("nlctrl"), buffer)
    assert parse_family(memoryview(buffer)[:size]) == 16


def test_a_family_that_no_kernel_has() -> None:
    """The refusal comes at once."""
    buffer = bytearray(4096)
    size = genetlink.ask(family_request("nonesuch"), buffer)
    with pytest.raises(SourceError):
        parse_family(memoryview(buffer)[:size])


def test_an_answer_in_several_datagrams_is_taken_whole() -> None:
    """All families of this kernel: a dump, which ends with its own mark."""
    request = message(0x10, struct.pack("=BBH", 3, 1, 0), flags=0x301)
    buffer = bytearray(1 << 17)
    size = genetlink.ask(request, buffer)
    assert size > 1000
    assert attribute(2, b"nlctrl\0") in buffer
    length, kind = struct.unpack_from("=IH", buffer, size - 20)
    assert (length, kind) == (20, 3)


def test_an_answer_longer_than_the_buffer_is_refused() -> None:
    """Not cut."""
    with pytest.raises(SourceError, match="more than 64 bytes"):
        genetlink.ask(family_request("nlctrl"), bytearray(64))
