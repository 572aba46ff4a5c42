"""Invariant: whatever a client sends is answered with one whole response whose length is right.

python fuzz/fuzz_health.py [SECONDS] [SEED]
"""

from mutate import fuzz

from proxywatch.health import HealthServer, Settings, Sources
from proxywatch.source.clock import SystemClock

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: localhost:9999\r\nUser-Agent: kube-probe/1.31\r\n\r\n",
    b"GET /readyz HTTP/1.1\r\n\r\n",
    b"GET /healthz?verbose HTTP/1.1\r\n\r\n",
    b"HEAD /vpnz HTTP/1.0\r\n\r\n",
    b"POST /livez HTTP/1.1\r\n\r\n",
    b"hello\n\n",
    b"",
]
FACE = HealthServer(
    Settings(), Sources(lambda: {"latency": 1.0}, {}, lambda: ("dead", "no handshake", False)), SystemClock()
)


def one(request: bytes) -> None:
    """Hold one input against the invariant."""
    head, _, body = FACE.respond(request).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(status.split()[1]) in {200, 404, 405, 503}
    assert len(body) in {0, int(headers["content-length"])}


def main() -> None:
    """Mutate requests."""
    fuzz(one, REQUESTS)


if __name__ == "__main__":
    main()
