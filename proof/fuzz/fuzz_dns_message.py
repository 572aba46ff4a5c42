"""Invariant: any bytes give a question with a bounded name, or none; a response code, or none; and no error.

What dnspython reads too is the same name and type to both; and what a counted handler is given and gives is
untouched, whatever the bytes.
"""

from mutate import fuzz

from proxywatch.instrument import MetricsAwareDns, dns_message

try:
    import dns.exception
    import dns.message
except ImportError:
    dns = None  # type: ignore[assignment]

HEAD = bytes.fromhex("beef01000001000000000000")
TAIL = bytes.fromhex("00010001")
RECORDED = [
    HEAD + b"\3www\7example\3com\0" + TAIL,
    HEAD + b"\0" + TAIL,
    HEAD + b"\1a" * 126 + b"\0" + TAIL,
    HEAD + b"\x3f" + b"x" * 63 + b"\xc0\x0c" + TAIL,
    HEAD + b'\5a.b c\4\\"\0\xff\0' + bytes.fromhex("ff000001"),
    bytes.fromhex("beef01000001000000000001") + b"\3WWW\0" + TAIL + bytes.fromhex("0000290200000000000000"),
    bytes.fromhex("beef81830001000000000001") + b"\3www\0" + TAIL + bytes.fromhex("0000290200010000000000"),
    bytes.fromhex("beef81800001000100000000")
    + b"\3www\0"
    + TAIL
    + bytes.fromhex("c00c000100010000000a0004c0000201"),
]
WORDS = (b"\xc0\x0c", b"\xc0\xff", b"\0", b"\x3f", b"\x40", b"\x80", b"\xff", HEAD, TAIL, b"\0\0\x29")
_LONGEST = 4 * 255
server = MetricsAwareDns()


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    asked = dns_message.question(data)
    if asked is not None:
        assert 0 < len(asked.domain) <= _LONGEST
        assert asked.domain.isascii()
        assert asked.domain == asked.domain.lower()
    code = dns_message.response_code(data)
    assert (code is None) == (len(data) < dns_message.HEADER)
    agree(data, asked)
    before = server.get_total_queries()
    assert server.wrap(lambda query: query)(data) is data
    counts = server.get_counts()
    assert counts.queries == before + 1
    assert counts.hits + counts.misses + counts.uncacheable == counts.queries
    assert len(counts.by_type) <= len(dns_message.TYPES) + 2


def agree(data: bytes, asked: dns_message.Question | None) -> None:
    """The reading of dnspython is ours; it follows pointers into the header, which we do not."""
    if dns is None:
        return
    try:
        message = dns.message.from_wire(data, question_only=True, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return
    if message.question and asked is not None and message.opcode() == 0:
        assert asked.domain == message.question[0].name.to_text(omit_final_dot=True).lower()
        assert asked.type == dns_message.type_name(int(message.question[0].rdtype))


if __name__ == "__main__":
    fuzz(one, RECORDED, WORDS)
