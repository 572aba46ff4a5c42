"""Invariant: an inspected container is a node, leaves, or is a fault; nothing else is raised.

python fuzz/fuzz_container.py [SECONDS] [SEED]
"""

from mutate import fuzz

from proxywatch.balancer.discovery import containers
from proxywatch.errors import ParseError

CONTAINERS = (
    b'{"Id":"a","Name":"/se-1","State":{"Running":true},"Config":{"Labels":{"proxywatch.country":"se"}},'
    b'"HostConfig":{"NetworkMode":"bridge"},"NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}',
    b'{"Id":"b","State":{"Running":true,"Health":{"Status":"unhealthy"}},"Config":{"Labels":{"proxywatch.country":"de",'
    b'"proxywatch.port":"1085"}},"HostConfig":{"NetworkMode":"container:a"},"NetworkSettings":{"Networks":null}}',
)
WORDS = (
    b'"',
    b"{",
    b"}",
    b":",
    b"null",
    b"true",
    b"container:b",
    b"host",
    b"\\u0000",
    b"\xff",
    b"0",
    b"a" * 300,
)


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    try:
        container = containers.read(data)
    except ParseError:
        return
    sighting = containers.sighting([container], {container.id: container}, "", "127.0.0.1")
    assert len(sighting.nodes) + len(sighting.leaving) + len(sighting.faults) >= 1


if __name__ == "__main__":
    fuzz(one, CONTAINERS, WORDS)
