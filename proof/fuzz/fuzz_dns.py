"""Invariant of the DNS forwarder: whatever anybody sends, a client is told a message that dnspython reads.

A client's message gets no reply or one with its id, which says that it is a response, within the size that
the client takes. A resolver's message is read or refused; what was read is told to clients as it was: fresh,
later, stale, with and without EDNS.

python fuzz/fuzz_dns.py [SECONDS] [SEED]
"""

import asyncio
from asyncio import TaskGroup
from contextlib import suppress

import dns.exception
import dns.message
from mutate import fuzz

from proxywatch.clock import SystemClock
from proxywatch.dns import message, reply
from proxywatch.dns.access import Access
from proxywatch.dns.cache import Cache, Terms
from proxywatch.dns.message import Question, Response
from proxywatch.dns.names import to_wire
from proxywatch.dns.rate import InFlight, Rate
from proxywatch.dns.resolver import Bounds, Resolver
from proxywatch.dns.server import doh
from proxywatch.dns.upstream.base import UpstreamError
from proxywatch.errors import ParseError
from support.dns_messages import query
from support.dns_upstreams import answer

QUESTION = Question(to_wire("example.test"), 1, 1)
_ASKED = dns.message.make_query("example.test", "A", id=7, use_edns=0)
QUERIES = (
    query("example.test"),
    query("a.b.c.example.test", "TXT", edns=1232, do=True),
    query("localhost", "AAAA", edns=4096),
    query(".", "NS"),
)
RESPONSES = tuple(
    answer(_ASKED, *records, rcode=rcode, authority=authority).to_wire()
    for records, rcode, authority in (
        (("example.test. 60 IN A 192.0.2.1", "example.test. 60 IN A 192.0.2.2"), 0, ""),
        (("example.test. 60 IN CNAME b.test.", "b.test. 5 IN A 192.0.2.1"), 0, ""),
        ((), 3, "test. 60 IN SOA ns.test. admin.test. 1 2 3 4 60"),
        (("example.test. 60 IN MX 10 mail.example.test.",), 0, "test. 60 IN NS ns.test."),
        (("example.test. 60 IN SRV 1 2 3 host.example.test.",), 0, ""),
    )
)
_WORDS = (
    b"\xc0\x0c", b"\xc0\x00", b"\xc0", b"\xff\xff\xff\xff", b"\0\0\x29\x04\xd0\0\0\x80\0\0\0", b"\0", b"\x3f",
    b"\x07example\x04test\0", b"\0\1\0\1", b"\0\x05\0\1", b"\0\x29", b"\x40", b"\xff",
)  # fmt: skip


def response(wire: bytes) -> None:
    """Hold a resolver's message against the invariant."""
    wire = b"\0\7" + wire[2:]
    if not message.answers(wire, 7, QUESTION):
        return
    with suppress(ParseError):
        read = message.parse_response(wire, QUESTION)
        cache = Cache(Terms(stale=60))
        entry = cache.put(QUESTION, read, 0.0)
        assert cache.held <= entry.held
        for asked in (query("EXAMPLE.test"), query("example.TEST", edns=1232, do=True)):
            to = message.parse_query(asked)
            for stored in (entry.fresh(0.0), entry.fresh(2.5), entry.stale()):
                told = reply.from_wire(to, stored, entry.flags, entry.rcode & 15)
                assert message.answers(told, to.id, to.question._replace(do=False, cd=False))
                again = message.parse_response(told, to.question)
                assert [each.owner for each in again.records] == [each.owner for each in read.records]
                assert all(each.ttl <= max(86400, 30) for each in again.records)


async def _refuse(_: Question) -> Response:
    raise UpstreamError("timeout", "there is none")


async def _told(wire: bytes) -> bytes:
    async with TaskGroup() as group:
        bounds = Bounds(Access([]), Rate(0), InFlight(9, 9), 9)
        resolver = Resolver(_refuse, Cache(Terms()), bounds, group, SystemClock())
        told = await resolver.answer(wire, "udp", "127.0.0.1")
        assert resolver.counts.queries == 1
    return told.wire


LOOP = asyncio.new_event_loop()


def client(wire: bytes) -> None:
    """Hold a client's message against the invariant."""
    told = LOOP.run_until_complete(_told(wire))
    if len(wire) < message.HEADER_SIZE or wire[2] & 0x80:
        assert told == b""
        return
    assert told[:2] == wire[:2]
    assert told[2] & 0x80
    with suppress(ParseError):
        assert len(told) <= reply.limit(message.parse_query(wire))
    with suppress(dns.exception.DNSException):
        dns.message.from_wire(told)
        doh.respond(told)
        return
    raise AssertionError(told)


def one(data: bytes) -> None:
    """One input, as both sides might send it."""
    data = data[:4096]
    client(data)
    response(data)


def main() -> None:
    """Mutate messages of both sides."""
    fuzz(one, [*QUERIES, *RESPONSES], _WORDS)


if __name__ == "__main__":
    main()
