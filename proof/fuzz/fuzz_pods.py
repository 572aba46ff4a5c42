"""Invariant: lists and events of pods give nodes, leaving ones and faults; nothing else is raised.

python fuzz/fuzz_pods.py [SECONDS] [SEED]
"""

from mutate import fuzz

from proxywatch.balancer.discovery import pods
from proxywatch.balancer.discovery.pods import ExpiredError, Pods
from proxywatch.errors import ParseError

POD = (
    b'{"metadata":{"name":"se-1","uid":"u","resourceVersion":"5","labels":{"proxywatch/country":"se"},'
    b'"annotations":{"proxywatch/tags":"a"}},"spec":{"containers":[{"ports":[{"name":"socks","containerPort":1080}]}]},'
    b'"status":{"phase":"Running","podIP":"10.0.0.1","conditions":[{"type":"Ready","status":"True"}]}}'
)
LINES = (
    b'{"type":"ADDED","object":' + POD + b"}",
    b'{"type":"DELETED","object":' + POD + b"}",
    b'{"type":"ERROR","object":{"kind":"Status","code":410}}',
    b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}',
    b'{"metadata":{"resourceVersion":"1","continue":"x"},"items":[' + POD + b"]}",
)
WORDS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"true",
    b"deletionTimestamp",
    b"Failed",
    b"\\u0000",
    b"\xff",
    b"0",
)


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    known = Pods("1", [])
    try:
        known.take(data)
        known.sighting()
    except (ParseError, ExpiredError):
        assert not known.pods
    try:
        page = pods.read_list(data)
    except ParseError:
        return
    assert len(Pods("1", page.items).sighting().nodes) <= len(page.items)


if __name__ == "__main__":
    fuzz(one, LINES, WORDS)
