"""The colour scales that users of the pool's dashboard know, and the states that have names."""

from dashboards.panel import Scale, names

SUCCESS: Scale = ((None, "red"), (90, "orange"), (95, "yellow"), (99, "green"))
LATENCY: Scale = ((None, "green"), (200, "yellow"), (500, "orange"), (1000, "red"))
SPEED: Scale = ((None, "red"), (5, "orange"), (10, "yellow"), (20, "green"))
LATENCY_LINES: Scale = ((None, "transparent"), (200, "yellow"), (500, "orange"), (1000, "red"))
SPEED_LINES: Scale = ((None, "red"), (5, "orange"), (10, "yellow"), (20, "green"))
NONE_IS_GOOD: Scale = ((None, "green"), (1, "red"))
RISE_IS_BAD: Scale = ((None, "green"), (10, "text"), (25, "orange"), (100, "red"))
FALL_IS_BAD: Scale = ((None, "red"), (-50, "orange"), (-25, "text"), (10, "green"))

UP = names(((1, "UP", "green"), (0, "DOWN", "red")))
UP_IF_KNOWN = names(((1, "UP", "green"), (0, "DOWN", "red"), (-1, "NO DATA", "orange")))
CHECKS = names(((0, "right", "green"), (1, "wrong", "red")))
PASSED = names(((1, "passed", "green"), (0, "failed", "red")))
OBTAINED = names(((1, "facts obtained", "green"), (0, "none", "red")))
TUNNEL_STATES = ("fresh", "idle", "rekey_overdue", "dead", "never", "absent")
TUNNEL = names(
    (
        (1, "fresh", "green"),
        (2, "idle", "blue"),
        (3, "rekey overdue", "orange"),
        (4, "dead", "red"),
        (5, "never", "purple"),
        (6, "absent", "text"),
    )
)


def tunnel_state(matchers: str) -> str:
    """A query for the number under which TUNNEL has a tunnel's state."""
    series = (
        f'{number} * (vpn_tunnel_state{{state="{state}", {matchers}}} == 1)'
        for number, state in enumerate(TUNNEL_STATES, 1)
    )
    return f"max by (proxy_name) ({' or '.join(series)})"
