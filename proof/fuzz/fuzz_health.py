"""Invariant of the health port: whatever bytes come, the answer is one whole response of a known status.

python proof/fuzz/fuzz_health.py [SECONDS] [SEED]
"""

import re

from mutate import fuzz

from proxywatch.clock import SystemClock
from proxywatch.health.checks import Check
from proxywatch.health.server import HealthServer
from proxywatch.health.settings import Settings

REQUESTS = (
    b"",
    b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /readyz HTTP/1.0\r\n\r\n",
    b"GET /healthz?verbose HTTP/1.1\r\n\r\n",
    b"HEAD /vpnz HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\n\r\n",
    b"OPTIONS / HTTP/1.0\r\n\r\n",
    b"PING\n\n",
    b"\x05\x01\x00",
)
_ANSWER = re.compile(
    rb"HTTP/1\.1 (200|404|405|503) [A-Za-z ]+\r\ncontent-type: [^\r\n]+\r\ncontent-length: (\d+)\r\n"
    rb"cache-control: no-store\r\n(?:allow: GET, HEAD, OPTIONS\r\n)?connection: close\r\n\r\n(.*)", re.DOTALL,
)  # fmt: skip
_SERVER = HealthServer(
    Settings(),
    {path: lambda: [Check("tunnel", ok=False, reason="dead")] for path in ("/readyz", "/vpnz", "/healthz")},
    SystemClock(),
)


def one(request: bytes) -> None:
    """Hold one input against the invariant."""
    match = _ANSWER.fullmatch(_SERVER.respond(request))
    assert match
    assert len(match[3]) in (0, int(match[2]))


def main() -> None:
    """Mutate requests."""
    fuzz(one, REQUESTS)


if __name__ == "__main__":
    main()
