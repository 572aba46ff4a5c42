"""What the process may use: file descriptors for so many connections."""

import logging
import resource

from proxywatch.balancer.relay.settings import Settings

log = logging.getLogger(__name__)

_RESERVE = 64  # descriptors for everything else


def capacity(settings: Settings) -> tuple[int, int]:
    """How many connections and handshakes may be open, as far as descriptors go: two each, and one each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    handshakes = min(settings.max_handshakes, hard // 8)
    fits = max(1, (hard - _RESERVE - handshakes * 3 // 2) // 2)
    if fits < settings.max_connections:
        log.warning(
            "only %d of %d connections fit into %d file descriptors; raise the limit (ulimit -n)",
            fits, settings.max_connections, hard,
        )  # fmt: skip
    return min(settings.max_connections, fits), handshakes
