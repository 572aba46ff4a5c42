"""Messages are read as dnspython reads them, or refused; nothing else comes out."""

import contextlib
from random import Random

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.dns import message
from proxywatch.dns.message import A, Question
from proxywatch.dns.names import to_text, to_wire
from proxywatch.dns.upstream.udp import spelled
from proxywatch.errors import ParseError
from support.dns_upstreams import answer

LABELS = st.binary(min_size=1, max_size=20)
NAMES = st.lists(LABELS, min_size=0, max_size=6).map(lambda labels: dns.name.Name([*labels, b""]))
EXAMPLE = Question(to_wire("example.test"), A, 1)


def wire_of(name: dns.name.Name) -> bytes:
    return name.to_wire()  # type: ignore[return-value]


@given(
    name=NAMES,
    ident=st.integers(0, 65535),
    do=st.booleans(),
    cd=st.booleans(),
    payload=st.sampled_from([None, 0, 512, 1232, 65535]),
)
def test_a_query_is_what_dnspython_wrote(
    name: dns.name.Name, ident: int, *, do: bool, cd: bool, payload: int | None
) -> None:
    query = dns.message.make_query(name, "AAAA", use_edns=payload is not None, want_dnssec=False, id=ident)
    if payload is not None:
        query.use_edns(0, dns.flags.DO if do else 0, payload)
    if cd:
        query.flags |= dns.flags.CD
    parsed = message.parse_query(query.to_wire())
    assert parsed.id == ident
    assert parsed.asked == wire_of(name)
    assert parsed.question == Question(wire_of(name).lower(), 28, 1, do and payload is not None, cd)
    assert parsed.size == max(512, payload or 0)
    assert (parsed.edns is None) == (payload is None)


@given(name=NAMES, do=st.booleans(), cd=st.booleans(), toss=st.integers(0, 2**64))
def test_dnspython_reads_what_we_ask_upstreams(name: dns.name.Name, *, do: bool, cd: bool, toss: int) -> None:
    question = Question(wire_of(name).lower(), 15, 1, do, cd)
    spelling = spelled(question.name, Random(toss).getrandbits)
    assert spelling.lower() == question.name
    read = dns.message.from_wire(message.build_query(77, question, spelling))
    assert read.id == 77
    assert read.question[0].name == name
    assert read.question[0].rdtype == dns.rdatatype.MX
    assert bool(read.ednsflags & dns.flags.DO) == do
    assert bool(read.flags & dns.flags.CD) == cd
    assert read.payload == 1232


RECORDS = st.sampled_from(
    [
        "example.test. 60 IN A 192.0.2.1",
        "example.test. 300 IN AAAA 2001:db8::1",
        "example.test. 5 IN MX 10 mail.example.test.",
        'example.test. 70 IN TXT "x"',
        "example.test. 9 IN CNAME other.test.",
        "other.test. 8 IN A 192.0.2.2",
        "example.test. 8 IN SRV 1 2 3 host.example.test.",
    ]
)


@given(records=st.lists(RECORDS, max_size=6, unique=True), edns=st.booleans())
def test_a_response_is_what_dnspython_wrote_less_its_opt(records: list[str], *, edns: bool) -> None:
    query = dns.message.make_query("example.test", "A", use_edns=edns)
    sent = answer(query, *records, authority="test. 30 IN SOA ns.test. admin.test. 1 2 3 4 60")
    wire = sent.to_wire()
    alias = any("CNAME" in record for record in records)
    if not alias and any(record.startswith("other") for record in records):
        with pytest.raises(ParseError, match="not asked for"):
            message.parse_response(wire, EXAMPLE)
        return
    assert message.answers(wire, query.id, EXAMPLE)
    response = message.parse_response(wire, EXAMPLE)
    read = dns.message.from_wire(response.wire)
    assert read.answer == sent.answer
    assert read.authority == sent.authority
    assert not read.additional
    assert read.edns == -1
    assert [each.ttl for each in response.records] == [
        int.from_bytes(response.wire[each.ttl_at : each.ttl_at + 4], "big") for each in response.records
    ]


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_whatever_comes_is_read_or_refused(data: bytes, tail: bytes) -> None:
    head = message.build_query(1, EXAMPLE, edns=False)
    with contextlib.suppress(ParseError):
        message.parse_query(data)
    for wire in (head[:2] + b"\x80\0\0\1" + data[:6].ljust(6, b"\0") + head[12:] + tail, head + data):
        with contextlib.suppress(ParseError):
            message.parse_response(wire, EXAMPLE)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"\xc0\x1e", "itself"),
        (b"\xc0\x20", "forward"),
        (b"\xc0\x02", "the header"),
        (b"\x40a", "an unknown kind of label"),
        (b"\x3fabc", "cut short"),
        (b"\xc0", "half a pointer"),
    ],
)
def test_a_name_that_does_not_point_backwards_is_refused(name: bytes, why: str) -> None:
    head = b"\0\1\x80\0\0\1\0\1\0\0\0\0" + EXAMPLE.name + b"\0\1\0\1"
    assert len(head) == 0x1E
    with pytest.raises(ParseError):
        message.parse_response(head + name + b"\0\1\0\1\0\0\0\1\0\4abcd" * bool(len(name) > 1), EXAMPLE)
    assert why


def test_many_pointers_cost_no_more_than_few() -> None:
    """A chain of pointers, each to the one before it, is left after 127 of them."""
    head = b"\0\1\x80\0\0\1\xff\xff\0\0\0\0" + EXAMPLE.name + b"\0\1\0\1"
    chain = b"".join((0xC000 | len(head) + at - 2).to_bytes(2, "big") for at in range(0, 8000, 2))
    with pytest.raises(ParseError, match="backwards"):
        message.read_name(head + chain, len(head) + len(chain) - 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda wire: wire[:4] + b"\0\0" + wire[6:],
        lambda wire: wire[:4] + b"\0\2" + wire[6:],
        lambda wire: wire[:12] + b"\xc0\x0c" + wire[12:],
        lambda wire: wire[:-3],
        lambda wire: wire[:10] + b"\0\2" + wire[12:] + wire[-11:],
        lambda wire: wire[:-11] + b"\1a" + wire[-11:],
        lambda wire: wire[:11],
    ],
    ids=["no question", "two", "compressed", "cut short", "two OPT", "OPT of a name", "no header"],
)
def test_malformed_queries_are_refused(damage: object) -> None:
    wire = message.build_query(1, EXAMPLE)
    message.parse_query(wire)
    assert callable(damage)
    with pytest.raises(ParseError):
        message.parse_query(damage(wire))


@pytest.mark.parametrize("kind", ["A", "CNAME", "SOA", "MX"])
def test_data_of_the_wrong_length_is_refused(kind: str) -> None:
    data = {"A": "192.0.2.1", "CNAME": "example.test.", "SOA": "a. b. 1 2 3 4 5", "MX": "1 example.test."}
    query = dns.message.make_query("example.test", kind, use_edns=False)
    question = Question(EXAMPLE.name, dns.rdatatype.from_text(kind), 1)
    wire = answer(query, f"example.test. 60 IN {kind} {data[kind]}").to_wire()
    message.parse_response(wire, question)
    at = len(wire) - message.parse_response(wire, question).records[0].end + message.HEADER_SIZE
    assert at == message.HEADER_SIZE
    start = message.parse_response(wire, question).records[0].data_at
    longer = wire[: start - 2] + (len(wire) - start + 1).to_bytes(2, "big") + wire[start:] + b"\0"
    with pytest.raises(ParseError):
        message.parse_response(longer, question)


def test_records_after_the_opt_record_are_left_out() -> None:
    query = dns.message.make_query("example.test", "A", use_edns=False)
    plain = answer(query, "example.test. 60 IN A 192.0.2.1").to_wire()
    extra = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4abcd"
    wire = plain[:10] + b"\0\2" + plain[12:] + message.opt(do=False, upper=1) + extra
    response = message.parse_response(wire, EXAMPLE)
    assert response.rcode == 16
    assert dns.message.from_wire(response.wire).answer == dns.message.from_wire(plain).answer


@given(NAMES)
def test_a_name_for_people_is_as_dnspython_writes_it(name: dns.name.Name) -> None:
    shown = to_text(wire_of(name))
    assert shown.isascii()
    assert shown.isprintable()
    assert dns.name.from_text(shown).labels == name.labels
