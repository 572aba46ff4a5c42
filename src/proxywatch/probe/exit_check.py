"""Whether traffic comes out where it should: the verdicts on what the services say, each with its reason.

A verdict is None where it cannot be judged; then the reason says what is missing.
"""

from typing import NamedTuple

from proxywatch.probe.identity import Identity

_LOCAL_NAMES = "socks5"
_LETTERS = 2


class Verdict(NamedTuple):
    """One check.

    Attributes:
        passed: None where it cannot be judged.
        reason: In a sentence.
    """

    passed: bool | None
    reason: str


def vpn(seen: Identity, *, expected: bool | None) -> Verdict:
    """Is the exit one of Mullvad's?

    Args:
        seen: Through the proxy.
        expected: What the operator says; None when nothing is expected.
    """
    if seen.vpn is None:
        return _unjudged("no service says whether the exit is a VPN's")
    if expected is None and not seen.vpn:
        return _unjudged(
            "the exit is not Mullvad's; another VPN's cannot be recognised (`exit.expect.mullvad`)"
        )
    if expected is False:
        return _unjudged("no exit of Mullvad's is expected")
    return _passed("the exit is Mullvad's") if seen.vpn else _failed("the exit is not Mullvad's")


def country(seen: Identity, expected: str) -> Verdict:
    """Is the exit in the country that the operator expects, by its two letters or its name?"""
    wanted = expected.strip().casefold()
    if not wanted:
        return _unjudged("no country is expected (`exit.expect.country`)")
    known = seen.code if len(wanted) == _LETTERS else seen.country
    if not known:
        return _unjudged("no service names the exit's country in the way that `exit.expect.country` does")
    if wanted == known.casefold():
        return _passed(f"the exit is in {known}")
    return _failed(f"the exit is in {known}, not in {expected}")


def not_direct(seen: Identity, direct: Identity | None, *, tried: bool) -> Verdict:
    """Is the exit another address than the one that this host has without the proxy?

    Args:
        seen: Through the proxy.
        direct: Without it; None when that failed.
        tried: Whether a request without the proxy was made.
    """
    if not tried:
        return _unjudged("the services are not asked without the proxy (`exit.direct`)")
    if direct is None:
        return _passed("without the proxy nothing gets out")
    if direct.address != seen.address:
        return _passed("the exit is not this host's own address")
    if seen.vpn is None:
        return _unjudged(
            "without the proxy the address is the same, and no service says whether it is a VPN's"
        )
    if seen.vpn:
        return _passed("without the proxy traffic leaves through the VPN as well")
    return _failed("the exit is this host's own address, which is no VPN's")


def leak(
    seen: Identity,
    direct: Identity | None,
    *,
    tried: bool,
    barred: bool,
    tunnel: bool,
    same_family: bool = True,
) -> Verdict:
    """Does a connection made beside the proxy fail, or leave through the tunnel?

    Args:
        seen: Through the proxy.
        direct: Beside it; None when that failed.
        tried: Whether a request without the proxy was made.
        barred: Whether nothing is meant to get out beside the tunnel.
        tunnel: Whether the VPN's device is on this host, so that all of its traffic should go through it.
        same_family: Whether the two addresses can be compared.
    """
    if not tried:
        return _unjudged("connections beside the proxy are not tried (`exit.direct`)")
    if not barred:
        return _unjudged("this host may get out beside the tunnel (`exit.leaks`)")
    if not tunnel:
        return _unjudged("the VPN's device is not here: this host's own traffic need not go through it")
    if direct is None:
        return _passed("nothing gets out beside the tunnel")
    return _way_out(seen, direct, same_family=same_family)


def _way_out(seen: Identity, direct: Identity, *, same_family: bool) -> Verdict:
    if direct.vpn or (same_family and direct.address == seen.address):
        return _passed("it leaves through the tunnel")
    if direct.vpn is None and not same_family:
        return _unjudged("something gets out, and no service says whether through the VPN")
    return _failed(f"it leaves from {direct.address}, beside the tunnel")


def dns(scheme: str) -> Verdict:
    """Are names resolved by the proxy, behind the tunnel?"""
    if scheme == _LOCAL_NAMES:
        return _failed("socks5:// resolves names here; socks5h:// leaves them to the proxy")
    return _passed("the proxy resolves names")


def _passed(reason: str) -> Verdict:
    return Verdict(passed=True, reason=reason)


def _failed(reason: str) -> Verdict:
    return Verdict(passed=False, reason=reason)


def _unjudged(reason: str) -> Verdict:
    return Verdict(passed=None, reason=reason)
