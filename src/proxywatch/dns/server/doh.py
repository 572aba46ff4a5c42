"""DNS over HTTP (RFC 8484), without the HTTP: what a request asks, and what a response says."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple
from urllib.parse import parse_qs

from proxywatch.dns import message
from proxywatch.dns.message import ANSWER, AUTHORITY, SOA
from proxywatch.errors import ParseError

PATH = "/dns-query"
KIND = "application/dns-message"
LARGEST = 4096
_ENCODED = 4 * LARGEST // 3 + 4


class Reply(NamedTuple):
    """An HTTP response.

    Attributes:
        status: The code.
        headers: By lower-case name, the content's length among them.
        body: A DNS message, or a line that says what is wrong.
    """

    status: int
    headers: dict[str, str]
    body: bytes


def query(method: str, target: str, kind: str, body: bytes) -> bytes | Reply:
    """The DNS query of a request, or its refusal.

    Args:
        method: `GET` or `POST`.
        target: Path and query of the request.
        kind: Its content type, empty for none.
        body: Its body.
    """
    path, _, parameters = target.partition("?")
    if path != PATH:
        return refuse(404, f"DNS is at {PATH}")
    if method == "POST":
        if kind.partition(";")[0].strip().lower() != KIND:
            return refuse(415, f"expected {KIND}")
        return body if len(body) <= LARGEST else refuse(413, "too large for a query")
    if method in {"GET", "HEAD"}:
        return _from_parameters(parameters)
    return refuse(405, "expected GET or POST", allow="GET, HEAD, POST")


def respond(wire: bytes) -> Reply:
    """The response that carries a DNS message; an empty one is what deserved no reply."""
    if not wire:
        return refuse(400, "not a DNS query")
    headers = {"content-type": KIND, "content-length": str(len(wire))}
    life = freshness(wire)
    headers["cache-control"] = f"max-age={life}" if life else "no-store"
    return Reply(200, headers, wire)


def freshness(wire: bytes) -> int:
    """Seconds that an HTTP cache may keep the message: its shortest TTL, 0 for a failure."""
    try:
        question = message.parse_query(wire).question
        response = message.parse_response(wire, question)
    except ParseError:
        return 0
    if response.rcode not in {message.NOERROR, message.NXDOMAIN} or response.flags & message.TC:
        return 0
    ttls = [each.ttl for each in response.records if each.section == ANSWER]
    ttls += [each.ttl for each in response.records if each.section == AUTHORITY and each.type == SOA]
    return min(ttls, default=0)


def refuse(status: int, text: str, **headers: str) -> Reply:
    """A response that says in a line what is wrong."""
    body = text.encode() + b"\n"
    kind = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))}
    return Reply(status, kind | headers, body)


def _from_parameters(parameters: str) -> bytes | Reply:
    if len(parameters) > _ENCODED + 256:
        return refuse(414, "too long for a query")
    try:
        wire = _decoded(parse_qs(parameters, max_num_fields=16).get("dns", []))
    except ValueError:
        wire = None
    if wire is None:
        return refuse(400, "expected one parameter `dns` in base64url")
    return wire if len(wire) <= LARGEST else refuse(413, "too large for a query")


def _decoded(values: list[str]) -> bytes | None:
    """The bytes of one value; only what decodes in one way is taken."""
    if len(values) != 1 or not values[0]:
        return None
    text = values[0].rstrip("=")
    wire = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return wire if urlsafe_b64encode(wire).rstrip(b"=") == text.encode() else None
