"""Invariant: any document gives a rule or ConfigError, and a rule answers any request without an exception.

A rule that was read is read again from its own document, as the same rule.

python fuzz/fuzz_rule.py [SECONDS] [SEED]
"""

from zoneinfo import ZoneInfo

import msgspec
from mutate import fuzz

from proxywatch.balancer.choosing.rule import Rules, read_rule
from proxywatch.balancer.request import Destination, Request, Wishes
from proxywatch.errors import ConfigError

DOCUMENTS = (
    b'{"name":"tv","condition":{"source_device":"iPhone","domain":"*.streaming.com"},"action":{"country":"us"}}',
    b'{"name":"day","condition":{"time_range":"09:00-17:00","country":"us"},"action":{"node":"us-1",'
    b'"fallback":"region"},"timezone":"Europe/Berlin"}',
    b'{"name":"lan","condition":{"client_ip_range":"192.168.1.0/24"},"action":{"deny":true},"priority":1}',
    b'{"name":"idna","condition":{"domain":".b\xc3\xbccher.example","user":"a","tag":"b"},"action":{"tag":"fast",'
    b'"city":"got","strategy":"random"},"enabled":false}',
    b'{"name":"set","condition":{"domain":"*a*b[!c-d]?*.example"},"action":{"country":"uk"}}',
)
WORDS = (
    b'"',
    b"*",
    b"[",
    b"]",
    b"!",
    b"-",
    b".",
    b"*" * 40,
    b"a" * 250,
    "\u0130".encode(),
    b"\\u0000",
    b"::",
    b"/0",
)
HOSTS = (
    "a.streaming.com",
    "bücher.example",
    "203.0.113.5",
    "2001:db8::1",
    "a" * 300,
    "..",
    "a" * 60 + ".b" * 90,
)
REQUESTS = [
    Request(
        0.0, time, client, "anna", Destination(host, 443) if host else None, Wishes(country="us"), agent,
        tags=frozenset({"b"}),
    )
    for host in ("", *HOSTS)
    for client, time, agent in (("192.168.1.9", 0.0, ""), ("fe80::1%eth0", 1.7e9, "iPhone"), ("", 4e9, ""))
]  # fmt: skip


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    try:
        rule = read_rule(document, id="1", created=0.0, origin="api", zones=ZoneInfo)
    except ConfigError as error:
        assert error.faults
        return
    for request in REQUESTS:
        assert rule.matches(request) == (
            not Rules([rule]).tried(request)[0][1] if rule.enabled else rule.matches(request)
        )
    told = rule.document()
    given = {key: told[key] for key in ("name", "condition", "action", "priority", "enabled", "timezone")}
    again = read_rule(given, id="1", created=0.0, origin="api", zones=ZoneInfo)
    assert again.document() == told


def main() -> None:
    """Mutate rules as people write them."""
    fuzz(one, DOCUMENTS, WORDS)


if __name__ == "__main__":
    main()
