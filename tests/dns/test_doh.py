"""DNS over HTTP without the HTTP."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.dns.server.doh import KIND, Reply, freshness, query, respond
from support.dns_messages import query as dns_query


def encoded(wire: bytes) -> str:
    return urlsafe_b64encode(wire).rstrip(b"=").decode()


@given(st.binary(min_size=1, max_size=600))
def test_both_verbs_carry_any_message(wire: bytes) -> None:
    assert query("POST", "/dns-query", KIND, wire) == wire
    assert query("GET", f"/dns-query?dns={encoded(wire)}", "", b"") == wire
    assert query("GET", f"/dns-query?ct=x&dns={encoded(wire)}", "", b"") == wire


@pytest.mark.parametrize(
    ("method", "target", "kind", "body", "status"),
    [
        ("GET", "/", "", b"", 404),
        ("GET", "/dns-query/", "", b"", 404),
        ("GET", "/dns-query", "", b"", 400),
        ("GET", "/dns-query?dns=", "", b"", 400),
        ("GET", "/dns-query?dns=a%2Bb", "", b"", 400),
        ("GET", "/dns-query?dns=AAAA&dns=AAAA", "", b"", 400),
        ("GET", "/dns-query?dns=A", "", b"", 400),
        ("GET", "/dns-query?dns=%C3%BC", "", b"", 400),
        ("GET", "/dns-query?" + "a&" * 99, "", b"", 400),
        ("GET", "/dns-query?dns=" + "A" * 9000, "", b"", 414),
        ("POST", "/dns-query", "text/plain", b"x", 415),
        ("POST", "/dns-query", "", b"x", 415),
        ("POST", "/dns-query", KIND, b"x" * 4097, 413),
        ("PUT", "/dns-query", KIND, b"x", 405),
    ],
)
def test_refusals(method: str, target: str, kind: str, body: bytes, status: int) -> None:
    told = query(method, target, kind, body)
    assert isinstance(told, Reply)
    assert told.status == status
    assert told.headers["content-length"] == str(len(told.body))


def test_a_reply_may_be_kept_as_long_as_its_records() -> None:
    assert freshness(dns_query()) == 0
    assert respond(b"").status == 400
    assert respond(dns_query()).headers["cache-control"] == "no-store"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_response_or_none(wire: bytes) -> None:
    assert respond(wire).status in {200, 400}
