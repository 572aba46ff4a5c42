"""WireGuard's own answers: what is read from them, and that no secret survives it."""

import traceback
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError, ProxywatchError, SourceError
from proxywatch.wireguard.device import Device, Peer, dated, parse_dump, parse_uapi

_RECORDED = Path(__file__).parents[1] / "fixtures/wireguard"
_SECRET = bytes(range(0xC0, 0xE0))
_IN_HEX, _IN_BASE64 = _SECRET.hex(), b64encode(_SECRET).decode()
_B = "+Bze3Cxj44SRqfw9fHieKne4hDMR97E+oHzDW8WFBjw="
_C = "iE9qaOTiu49jpW2QlBdJ4dTDTGxY1RezYm00eS5h5zk="
_D = "1P2NgGMjjj4QZo1vj/Rx5joaPxf0E6q1PPhNSxGSfgc="
_PARSERS = {"dump": parse_dump, "uapi": parse_uapi}
_EXPECTED = {
    "down": Device(41142, ()),
    "no-peer": Device(51820, ()),
    "never": Device(51820, (Peer(_C, "10.88.2.2:51820"),)),
    "three-peers": Device(
        51820,
        (
            Peer(_B, "10.88.1.2:51820", 1795264112, 92, 180, 5),
            Peer(_D, "10.88.3.2:51820", 1795264112, 92, 180, 25),
            Peer(_C, "10.88.2.2:51820"),
        ),
    ),
    "big": Device(51820, (Peer(_B, "10.88.1.2:51820", 1795264770, 5008332644, 89236308, 5),)),
}


def _recorded(name: str, form: str) -> bytearray:
    text = (_RECORDED / f"{name}.{form}").read_text()
    if form == "uapi":
        return bytearray(text.replace("@PRIVATE@", _IN_HEX).replace("0" * 64, _IN_HEX).encode())
    return bytearray(
        text.replace("@PRIVATE@", _IN_BASE64).replace("\t(none)\t10.", f"\t{_IN_BASE64}\t10.").encode()
    )


@pytest.mark.parametrize("form", _PARSERS)
@pytest.mark.parametrize("name", _EXPECTED)
def test_both_forms_of_a_recorded_device_say_the_same(name: str, form: str) -> None:
    """Down, without peers, never shaken hands, three peers, counters above 32 bits."""
    content = _recorded(name, form)
    assert _PARSERS[form](memoryview(content)) == _EXPECTED[name]
    assert _IN_HEX.encode() not in content
    assert _IN_BASE64.encode() not in content


def test_an_endpoint_may_be_unknown_or_of_version_6() -> None:
    """A peer that has not called yet has none."""
    line = f"k\tk\t1\toff\n{_B}\t(none)\t{{}}\t(none)\t0\t0\t0\toff\n"
    assert parse_dump(memoryview(bytearray(line.format("(none)").encode()))).peers[0].endpoint is None
    six = parse_dump(memoryview(bytearray(line.format("[fd77::1]:51820").encode())))
    assert six.peers[0].endpoint == "[fd77::1]:51820"


def test_what_later_versions_add_is_passed_over() -> None:
    """An unknown key of UAPI is no fault."""
    content = _recorded("big", "uapi").replace(b"protocol_version=1", b"something_new=7")
    assert parse_uapi(memoryview(content)) == _EXPECTED["big"]


def test_a_refusal_is_the_sources() -> None:
    """`errno` other than 0."""
    with pytest.raises(SourceError, match="refused"):
        parse_uapi(memoryview(bytearray(b"errno=-22\n\n")))


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("uapi", b""),
        ("uapi", b"listen_port=51820\n"),
        ("uapi", b"rx_bytes=1\nerrno=0\n\n"),
        ("uapi", b"public_key=00\nerrno=0\n\n"),
        ("uapi", b"listen_port=many\nerrno=0\n\n"),
        ("uapi", b"nonsense\nerrno=0\n\n"),
        ("dump", b""),
        ("dump", b"a\tb\tc\td\n"),
        ("dump", b"a\tb\t1\toff\nshort\tline\n"),
        ("dump", b"a\tb\t1\toff\nkey\tpsk\te\tips\t0\t0\t0\toff\n"),
    ],
)
def test_what_is_none_is_refused(form: str, content: bytes) -> None:
    """Cut short, out of order, not numbers, not keys."""
    with pytest.raises(ParseError):
        _PARSERS[form](memoryview(bytearray(content)))


@given(
    form=st.sampled_from(sorted(_PARSERS)),
    name=st.sampled_from(sorted(_EXPECTED)),
    data=st.data(),
)
def test_no_secret_is_in_an_error_or_its_traceback(form: str, name: str, data: st.DataObject) -> None:
    """Whatever is damaged behind the secrets, an error shows neither them nor the frames' copies of them."""
    content = _recorded(name, form)
    lines = content.split(b"\n")
    victim = data.draw(st.integers(0, len(lines) - 1))
    if not any(secret.encode() in lines[victim] for secret in (_IN_HEX, _IN_BASE64)):
        lines[victim] = bytearray(data.draw(st.binary(max_size=40)))
    damaged = bytearray(b"\n".join(lines))
    try:
        shown = repr(_PARSERS[form](memoryview(damaged)))
    except ProxywatchError as error:
        frames = error.__traceback__
        below = error.with_traceback(frames.tb_next if frames else None)  # this frame knows the secrets
        shown = "".join(traceback.TracebackException.from_exception(below, capture_locals=True).format())
    assert _IN_HEX not in shown
    assert _IN_BASE64 not in shown


@given(st.binary(max_size=300), st.sampled_from(sorted(_PARSERS)))
def test_any_bytes_are_a_device_or_an_error_of_ours(content: bytes, form: str) -> None:
    """Never another exception."""
    message = ""
    try:
        _PARSERS[form](memoryview(bytearray(content)))
    except ProxywatchError as error:
        message = str(error)
    assert len(message) < 100


@pytest.mark.parametrize("head", ["", f"own_public_key={'cd' * 32}\n"])
@pytest.mark.parametrize(
    ("age", "fraction"), [(0, 400_000_000), (0, 0), (1, 0), (10, 5), (130, 0), (400, 999_999_999)]
)
def test_an_age_instead_of_a_time_is_known_as_one(head: str, age: int, fraction: int) -> None:
    """As boringtun writes it, whose answer has a head of its own; the handshake was that long ago."""
    if not (head or age or fraction):
        return  # without the head this is how wireguard-go says never; the next test but one
    content = (
        f"{head}public_key={'ab' * 32}\nlast_handshake_time_sec={age}\n"
        f"last_handshake_time_nsec={fraction}\nrx_bytes=92\nerrno=0\n\n"
    )
    now = 1_795_264_112.0
    (peer,) = dated(parse_uapi(memoryview(bytearray(content.encode()))), now).peers
    assert peer.handshake_age == pytest.approx(age + fraction / 1e9)
    assert peer.last_handshake == pytest.approx(now - age, abs=1)


def test_a_time_stays_a_time_where_the_clock_was_never_set() -> None:
    """A machine that thinks it is 1970 has handshakes of 1970."""
    content = f"public_key={'ab' * 32}\nlast_handshake_time_sec=95\nlast_handshake_time_nsec=0\nerrno=0\n\n"
    (peer,) = dated(parse_uapi(memoryview(bytearray(content.encode()))), 100.0).peers
    assert (peer.last_handshake, peer.handshake_age) == (95, None)


def test_never_is_no_age() -> None:
    """0 in both fields, whatever was received meanwhile: an unanswered handshake is bytes as well."""
    content = (
        f"public_key={'ab' * 32}\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\nrx_bytes=148\n"
        "errno=0\n\n"
    )
    (peer,) = dated(parse_uapi(memoryview(bytearray(content.encode()))), 1_795_264_112.0).peers
    assert (peer.last_handshake, peer.handshake_age) == (0, None)
