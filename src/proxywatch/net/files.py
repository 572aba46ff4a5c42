"""Open files: how many this process may have, and which port may take how many of them."""

import resource

_OWN = 100  # for everything that is no client: the log, checkpoints, probes, libraries
_HEALTH_PART = 4  # of what is left the health port keeps a quarter, if it wants that many


def raise_limit() -> int:
    """Raise the limit of open files as far as the kernel allows without asking; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # a hard limit above what the kernel allows by now
            return soft
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def share(files: int, http: int, health: int) -> tuple[int, int]:
    """How many connections each port may have, so that neither can take the other's descriptors.

    Args:
        files: The limit of open files.
        http: Connections that the settings allow on the metrics port.
        health: The same on the health port.

    Returns:
        The same or less for both: at least one each.
    """
    free = max(files - _OWN, files // 2, 2)
    health = max(min(health, max(free // _HEALTH_PART, free - http)), 1)
    return max(min(http, free - health), 1), health
