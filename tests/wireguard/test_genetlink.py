"""The kernel's WireGuard by netlink, on bytes built as linux/wireguard.h lays them out."""

import errno
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError, ProxywatchError, SourceError
from proxywatch.wireguard.device import Device, Peer, base64_key
from proxywatch.wireguard.genetlink import device_request, family_request, parse_device, parse_family
from support.netlink_bytes import (
    FAMILY,
    SECRET,
    attribute,
    device_answer,
    done,
    error,
    family_answer,
    message,
)

_RECORDED = Path(__file__).parents[1] / "fixtures/genetlink"
_A, _B = base64_key(bytes([1]) * 32), base64_key(bytes([2]) * 32)
_FOUR = Peer(_A, "192.0.2.1:51820", 1795264112, 5008332644, 89236308, 25)
_SIX = Peer(_B, "[2001:db8::7]:443", 0, 0, 444, 0)


def _parse(content: bytes) -> Device:
    return parse_device(memoryview(content))


def test_a_device_with_its_peers() -> None:
    """Both kinds of endpoint, numbers above 32 bits, never shaken hands."""
    device = Device(51820, (_FOUR, _SIX))
    assert _parse(device_answer(device)) == device


def test_the_recorded_answers_are_those_that_are_built_here() -> None:
    """The harness of proof/fuzz/ begins with them."""
    assert (_RECORDED / "device").read_bytes() == device_answer(Device(51820, (_FOUR, _SIX)))
    assert (_RECORDED / "family").read_bytes() == family_answer()
    assert (_RECORDED / "refusal").read_bytes() == error(errno.EPERM)


def test_a_device_without_peers() -> None:
    """The attribute is not there at all."""
    assert _parse(device_answer(Device(7, ()))) == Device(7, ())


def test_a_peer_without_an_endpoint() -> None:
    """It has not called yet."""
    device = Device(7, (Peer(_A),))
    assert _parse(device_answer(device)) == device


def test_many_peers_come_in_several_messages() -> None:
    """A peer that is continued is the same peer, and keeps its numbers."""
    content = device_answer(Device(7, (_SIX,)), Device(7, (_FOUR,)), continued=_A)
    assert _parse(content) == Device(7, (_FOUR, _SIX))


@given(
    st.lists(
        st.builds(
            Peer,
            st.binary(min_size=32, max_size=32).map(base64_key),
            st.none() | st.just("198.51.100.1:1") | st.just("[::1]:65535"),
            st.integers(0, (1 << 63) - 1),
            st.integers(0, (1 << 64) - 1),
            st.integers(0, (1 << 64) - 1),
            st.integers(0, 65535),
        ),
        max_size=5,
        unique_by=lambda peer: peer.public_key,
    ),
    st.integers(0, 65535),
)
def test_whatever_is_told_is_read_back(peers: list[Peer], port: int) -> None:
    """Every field over its whole range."""
    device = Device(port, tuple(sorted(peers, key=lambda peer: peer.public_key)))
    assert _parse(device_answer(device)) == device


@pytest.mark.parametrize(
    ("number", "words", "temporary"),
    [
        (errno.EPERM, "NET_ADMIN", False),
        (errno.ENOENT, "no WireGuard", True),
        (errno.ENODEV, "no such device", True),
        (errno.EOPNOTSUPP, "not the kernel's WireGuard", True),
        (errno.ENOMEM, "ENOMEM", True),
    ],
)
def test_the_kernels_refusal_in_words(number: int, words: str, temporary: bool) -> None:  # noqa: FBT001
    """Each says what is missing."""
    with pytest.raises(SourceError, match=words) as caught:
        _parse(error(number))
    assert caught.value.temporary is temporary
    with pytest.raises(SourceError):
        parse_family(memoryview(error(number)))


def test_the_family_has_a_number() -> None:
    """It is the kernel's to choose."""
    assert parse_family(memoryview(family_answer(0x27))) == 0x27
    with pytest.raises(ParseError):
        parse_family(memoryview(done()))


def test_the_requests_as_the_kernel_wants_them() -> None:
    """Header, generic header, one name with its end; padded to four bytes."""
    assert family_request("wireguard") == message(
        0x10, struct.pack("=BBH", 3, 1, 0) + attribute(2, b"wireguard\0"), flags=1
    ).replace(struct.pack("=II", 1, 4711), struct.pack("=II", 1, 0)).replace(
        struct.pack("=I", 34), struct.pack("=I", 36), 1
    )
    head = struct.unpack_from("=IHHII", device_request(FAMILY, "wg0"))
    assert head == (28, FAMILY, 0x301, 1, 0)


@pytest.mark.parametrize("cut", range(1, 60))
def test_an_answer_cut_short_is_refused(cut: int) -> None:
    """Anywhere before the end mark."""
    whole = device_answer(Device(7, (_FOUR,)))[:-20]
    with pytest.raises(ParseError):
        _parse(whole[:-cut])


@given(st.data())
def test_damage_makes_an_error_of_ours_or_a_device_and_shows_no_secret(data: st.DataObject) -> None:
    """Any bytes anywhere."""
    content = bytearray(device_answer(Device(51820, (_FOUR, _SIX))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        shown = repr(_parse(bytes(content)))
    except ProxywatchError as fault:
        shown = str(fault)
    assert base64_key(SECRET)[:20] not in shown
    assert SECRET.hex()[:20] not in shown


@given(st.binary(max_size=200))
def test_any_bytes_are_a_device_or_an_error_of_ours(content: bytes) -> None:
    """Never another exception."""
    for parse in (parse_device, parse_family):
        message = ""
        try:
            parse(memoryview(content))
        except ProxywatchError as fault:
            message = str(fault)
        assert len(message) < 120
