"""Queries and responses for tests, written by dnspython."""

import dns.flags
import dns.message

from proxywatch.dns import message
from proxywatch.dns.message import Question, Response
from proxywatch.dns.names import to_wire
from support.dns_upstreams import answer

SOA = "test. {ttl} IN SOA ns.test. admin.test. 1 2 3 4 {minimum}"


def asked(name: str = "a.test", kind: int = 1) -> Question:
    """A question."""
    return Question(to_wire(name), kind, 1)


def soa(ttl: int = 60, minimum: int = 60) -> str:
    """The authority of an answer that something does not exist."""
    return SOA.format(ttl=ttl, minimum=minimum)


def response(
    question: Question, *records: str, rcode: int = 0, authority: str = "", flags: int = 0
) -> Response:
    """What an upstream says to a question."""
    query = dns.message.from_wire(message.build_query(1, question))
    sent = answer(query, *records, rcode=rcode, authority=authority)
    sent.flags |= dns.flags.Flag(flags)
    return message.parse_response(sent.to_wire(), question)


def query(
    name: str = "a.test",
    kind: str = "A",
    *,
    edns: int | None = None,
    do: bool = False,
    flags: int = 0,
    ident: int = 7,
) -> bytes:
    """What a client sends."""
    made = dns.message.make_query(name, kind, id=ident, use_edns=edns is not None)
    if edns is not None:
        made.use_edns(0, dns.flags.DO if do else 0, edns)
    made.flags |= dns.flags.Flag(flags)
    return made.to_wire()


def ttls(wire: bytes) -> list[int]:
    """TTLs of the answer and authority sections."""
    read = dns.message.from_wire(wire)
    return [each.ttl for each in [*read.answer, *read.authority]]
