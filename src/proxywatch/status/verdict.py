"""The whole in a line: the worst that is known, in the order in which a person would ask."""

from collections.abc import Iterable, Mapping

from proxywatch.scrape import Outcome
from proxywatch.status.model import Exit, Figure, Verdict, Vpn

_TOLERABLE = ("good", "fair", "unknown")


def conclude(
    vpn: Vpn, leaves: Exit | None, figures: Iterable[Figure], outcomes: Mapping[str, Outcome]
) -> Verdict:
    """Tunnel, exit, proxy, numbers; then all is well, or nothing is known yet."""
    by_key = {figure.key: figure for figure in figures}
    return (
        _tunnel(vpn, outcomes.get("latency"))
        or _leaves(leaves)
        or _proxy(outcomes.get("latency"))
        or _numbers(by_key)
        or _well(vpn, leaves, by_key)
    )


def _tunnel(vpn: Vpn, probes: Outcome | None) -> Verdict | None:
    if vpn.up is not False:
        return None
    answers = probes is not None and probes.success
    then = "; yet the proxy answers: its traffic takes another way" if answers else ""
    return Verdict("bad", "The VPN is down", vpn.words + then)


def _leaves(leaves: Exit | None) -> Verdict | None:
    checks = leaves.checks if leaves else {}
    where = f"it comes out at {leaves.ip}" if leaves else ""
    if checks.get("not_direct") is False:
        return Verdict("bad", "Traffic leaks past the VPN", f"{where}, this machine's own address")
    if checks.get("vpn") is False:
        return Verdict("bad", "Traffic does not leave through the VPN", where)
    if leaves and checks.get("country") is False:
        return Verdict(
            "warning", "The exit is in the wrong country", f"it is in {leaves.country or 'an unknown one'}"
        )
    return None


def _proxy(outcome: Outcome | None) -> Verdict | None:
    if outcome is None or outcome.success:
        return None
    return Verdict("bad", "The proxy does not work", outcome.message)


def _numbers(figures: Mapping[str, Figure]) -> Verdict | None:
    rate = figures["success_rate"]
    if rate.value is not None and rate.grade == "bad":
        return Verdict("bad", "Many requests fail", f"{rate.value:.1f} % succeeded in the last minutes")
    for key, words in (
        ("success_rate", "Some requests fail"),
        ("latency", "The proxy is slow"),
        ("speed", "Downloads are slow"),
    ):
        figure = figures[key]
        if figure.grade not in _TOLERABLE:
            return Verdict("warning", words, f"{figure.title.lower()} {figure.value:.4g} {figure.unit}")
    return None


def _well(vpn: Vpn, leaves: Exit | None, figures: Mapping[str, Figure]) -> Verdict:
    latency = figures["latency"].value
    if latency is None:
        return Verdict("unknown", "Not measured yet", figures["latency"].reason)
    place = ", ".join(filter(None, (leaves.city, leaves.country))) if leaves else ""
    way = f" by way of {place}" if place else ""
    without = "" if vpn.up is not None else f"; the tunnel is not watched: {vpn.words}"
    return Verdict("good", "All is well", f"a request takes {latency:.0f} ms{way}{without}")
