"""The verdict in a line: the worst that is known, in the order in which a person would look."""

from collections.abc import Iterable, Mapping

from proxywatch.exporter.collector import latency
from proxywatch.exporter.runner import Outcome
from proxywatch.exporter.status.model import Exit, Figure, Verdict, Vpn

_TOLERABLE = ("good", "fair", "unknown")
_CODE = 2
_VPN = "See whether the VPN's container runs and reaches its server, and what its log says."
_DIAL = "Have the proxy dial through the VPN's device: `external:` in danted.conf."
_KILL = "Add a kill switch: let nothing but WireGuard's own packets leave beside the device."
_IPV6 = "Route IPv6 into the tunnel as well, or disable it."
_DNS = (
    "Look at the resolver that the proxy uses, /etc/resolv.conf beside Dante: it must answer through the VPN."
)
_MOVE = "Choose a server in the country that you expect, or correct `exit.expect.country`."
_PROXY = "See whether the proxy runs and listens; `proxywatch check` goes through it step by step."
_BLAME = (
    "The recent failures show whose fault it is: a client's, the rules', the proxy's, or a destination's."
)
_PORTAL = (
    "Something on the way, such as a login page of a hotel or a provider, answers in the targets' place: log "
    "in there, or look at the VPN's server; if the targets have changed, correct `latency.targets`."
)
_PHASE = "See which phase takes the time: SOCKS is the way to the destination, first byte its answer."
_ELSEWHERE = "Compare with a download without the proxy; another server of the VPN may be faster."


def conclude(
    vpn: Vpn,
    exit_: Exit | None,
    figures: Iterable[Figure],
    outcomes: Mapping[str, Outcome],
    last_round: latency.Status | None,
) -> Verdict:
    """Tunnel, exit, proxy, numbers; then all is well, or nothing is known yet."""
    by_key = {figure.key: figure for figure in figures}
    return (
        _tunnel(vpn, outcomes.get("latency"))
        or _exit(exit_)
        or _proxy(outcomes.get("latency"), last_round)
        or _numbers(by_key)
        or _well(vpn, exit_, by_key)
    )


def _tunnel(vpn: Vpn, probes: Outcome | None) -> Verdict | None:
    if vpn.up is not False:
        return None
    answers = probes is not None and probes.success
    then = "; yet the proxy answers: its traffic takes another way" if answers else ""
    return Verdict("bad", "The VPN is down", vpn.message + then, _VPN)


def _exit(exit_: Exit | None) -> Verdict | None:
    if exit_ is None:
        return None
    where = f"it comes out at {exit_.ip}"
    failed = {name for name, passed in exit_.checks.items() if not passed}
    for name, message, detail, advice in (
        ("not_direct", "Traffic leaks past the VPN", f"{where}, this machine's own address", _DIAL),
        ("vpn", "Traffic does not leave through the VPN", where, _DIAL),
        ("no_leak", "Traffic leaks past the VPN", "what goes out beside the proxy leaves outside it", _KILL),
        ("no_leak_ipv6", "IPv6 leaks past the VPN", "it leaves outside it, beside the proxy", _IPV6),
        ("dns", "The proxy resolves no names", "requests for addresses work, those for names do not", _DNS),
    ):
        if name in failed:
            return Verdict("bad", message, detail, advice)
    if "country" in failed:
        return Verdict(
            "warning",
            "The exit is in the wrong country",
            f"it is in {_country(exit_) or 'an unknown one'}",
            _MOVE,
        )
    return None


def _country(exit_: Exit) -> str:
    return exit_.country.upper() if len(exit_.country) == _CODE else exit_.country


def _proxy(outcome: Outcome | None, last_round: latency.Status | None) -> Verdict | None:
    if outcome is None or outcome.success:
        return None
    if last_round and last_round.captive:
        return Verdict("bad", "A captive portal answers", "targets give other answers than theirs", _PORTAL)
    return Verdict("bad", "The proxy does not work", outcome.message, _PROXY)


def _numbers(figures: Mapping[str, Figure]) -> Verdict | None:
    rate = figures["success_rate"]
    if rate.value is not None and rate.grade == "bad":
        return Verdict(
            "bad", "Many requests fail", f"{rate.value:.1f} % succeeded in the last minutes", _BLAME
        )
    for key, message, advice in (
        ("success_rate", "Some requests fail", _BLAME),
        ("latency", "The proxy is slow", _PHASE),
        ("speed", "Downloads are slow", _ELSEWHERE),
    ):
        figure = figures[key]
        if figure.grade not in _TOLERABLE:
            detail = f"{figure.title.lower()} {figure.value:.4g} {figure.unit}"
            return Verdict("warning", message, detail, advice)
    return None


def _well(vpn: Vpn, exit_: Exit | None, figures: Mapping[str, Figure]) -> Verdict:
    latency = figures["latency"].value
    if latency is None:
        return Verdict("unknown", "Not measured yet", figures["latency"].reason)
    place = ", ".join(filter(None, (exit_.city, _country(exit_)))) if exit_ else ""
    way = f" by way of {place}" if place else ""
    without = "" if vpn.up is not None else f"; the tunnel is not watched: {vpn.message}"
    return Verdict("good", "All is well", f"a request takes {latency:.0f} ms{way}{without}")
