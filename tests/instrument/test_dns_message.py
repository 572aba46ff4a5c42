"""The reader of DNS messages agrees with dnspython, and never raises."""

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxywatch.instrument import dns_message
from proxywatch.instrument.dns_message import Question

HEAD = bytes.fromhex("beef01000001000000000000")
LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=6)


def wire(name: bytes, kind: int = 1, head: bytes = HEAD) -> bytes:
    return head + name + kind.to_bytes(2, "big") + b"\0\1"


@given(LABELS, st.integers(0, 65535), st.integers(0, 65535))
@example([b"www", b"Example", b"com"], 1, 7)
@example([b"a.b", b' ";\\\0\xff'], 28, 7)
def test_question_is_dnspythons(labels: list[bytes], kind: int, number: int) -> None:
    """Any name that is one is read as dnspython reads it, in lower case."""
    try:
        name = dns.name.Name([*labels, b""])
    except dns.name.NameTooLong:
        return
    data = wire(name.to_wire() or b"", kind, number.to_bytes(2, "big") + HEAD[2:])
    found = dns_message.question(data)
    assert found is not None
    assert found.message_id == number
    assert found.domain == name.to_text(omit_final_dot=True).lower()
    if kind in dns_message.TYPES:
        assert found.type == dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind))
    else:
        assert found.type == f"TYPE{kind}"


def test_plain() -> None:
    """A query as they come."""
    data = dns.message.make_query("WWW.Example.COM", "AAAA", id=0xBEEF, use_edns=True).to_wire()
    assert dns_message.question(data) == Question(0xBEEF, "www.example.com", "AAAA")
    assert dns_message.question(wire(b"\0", 65280)) == Question(0xBEEF, ".", "TYPE65280")


LONGEST = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD[:11],
        wire(b"\0", head=bytes(12)),
        wire(b"\0")[:-1],
        wire(b"\3ww"),
        wire(b"\x40" + b"a" * 64 + b"\0"),
        wire(b"\x80\0"),
        wire(b"\xc0\x0c"),
        wire(b"\3www\xc0\x0c"),
        wire(b"\xc0\x04"),
        wire(b"\xc0\xff"),
        wire(LONGEST[:-1] + b"\1a\0"),
        wire((b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\0"),
        wire(b"\1a" * 128 + b"\0"),
        HEAD + b"\1a" * 30_000,
    ],
)
def test_malformed(data: bytes) -> None:
    """No question, one cut short, a label or name too long, or a pointer, which has nothing to point to."""
    assert dns_message.question(data) is None


def test_longest_name() -> None:
    """255 bytes are allowed."""
    assert len(LONGEST) == 255
    assert dns_message.question(wire(LONGEST)) is not None


@given(st.integers(0, 4095), st.booleans())
def test_response_code_is_dnspythons(code: int, empty: bool) -> None:  # noqa: FBT001
    """Codes above 15 have their upper bits in an OPT record."""
    query = dns.message.make_query("example.com", "A", use_edns=code > 15)
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.Rcode(code))
    if empty:
        response.question.clear()
    found = dns_message.response_code(response.to_wire())
    assert found == dns_message.code_name(code)
    if code in dns_message.CODES and code != 16:
        assert found == dns.rcode.to_text(dns.rcode.Rcode(code))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", None),
        (bytes(11), None),
        (HEAD[:3] + b"\x83" + HEAD[4:], "NXDOMAIN"),
        (bytes.fromhex("beef81800001000000000001") + b"\xc0\x0c\0\1\0\1", "NOERROR"),
        (bytes.fromhex("beef81800001000000000001") + b"\0\0\1\0\1\0\0\x29", "NOERROR"),
        (bytes.fromhex("beef81800002000000000001") + bytes(30), "NOERROR"),
        (bytes.fromhex("beef81800000000000000001") + b"\0\0\x29\0\0\1\0\0\0\0\0", "BADVERS"),
        (bytes.fromhex("beef81800000000000000001") + b"\0\0\x01\0\0\1\0\0\0\0\0", "NOERROR"),
        (bytes.fromhex("beef818c0000000000000000"), "RCODE12"),
    ],
)
def test_response_code(data: bytes, code: str | None) -> None:
    """What cannot be read as an OPT record leaves the code at its lower bits."""
    assert dns_message.response_code(data) == code


@given(st.binary(max_size=600) | st.binary(max_size=600).map(lambda tail: HEAD + tail))
def test_anything(data: bytes) -> None:
    """No input raises, and names are bounded."""
    found = dns_message.question(data)
    assert found is None or len(found.domain) <= 4 * 255
    code = dns_message.response_code(data)
    assert code is None or dns_message.code_label(code) in {*dns_message.CODES.values(), "other"}


def test_labels() -> None:
    """Labels are from closed lists."""
    assert dns_message.type_label("AAAA") == "AAAA"
    assert dns_message.type_label("TYPE65280") == "other"
    assert dns_message.type_label("malformed") == "malformed"
    assert dns_message.code_label("NXDOMAIN") == "NXDOMAIN"
    assert dns_message.code_label("RCODE12") == "other"
    assert dns_message.code_label("none") == "none"
