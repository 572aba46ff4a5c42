"""Verdicts on the exit: passed, failed, and not judged where a fact is missing."""

import pytest

from proxywatch.probe import exit_check
from proxywatch.probe.identity import Identity

EXIT = Identity("192.0.2.1", "Sweden", "se", vpn=True)
SAME_UNKNOWN = Identity("192.0.2.1")
OTHER = Identity("198.51.100.7", vpn=False)
OTHER_EXIT = Identity("192.0.2.77", vpn=True)
SIX = Identity("2001:db8::1")


@pytest.mark.parametrize(
    ("vpn", "expected", "verdict"),
    [
        (True, None, True), (True, True, True), (False, True, False), (False, None, None),
        (None, True, None), (None, None, None), (True, False, None), (False, False, None),
    ],
)  # fmt: skip
def test_the_vpn(vpn: bool | None, expected: bool | None, verdict: bool | None) -> None:  # noqa: FBT001
    """A yes is reported; a no only when a yes was expected, for another VPN is no fault."""
    assert exit_check.vpn(Identity("192.0.2.1", vpn=vpn), expected=expected).passed is verdict


@pytest.mark.parametrize(
    ("expected", "verdict"),
    [
        ("", None),
        ("se", True),
        ("SE", True),
        ("Sweden", True),
        ("sweden", True),
        ("de", False),
        ("Germany", False),
    ],
)
def test_the_country(expected: str, verdict: bool | None) -> None:  # noqa: FBT001
    """By its letters or its name, in any case."""
    assert exit_check.country(EXIT, expected).passed is verdict


@pytest.mark.parametrize(
    ("seen", "expected"), [(Identity("a", "Sweden"), "se"), (Identity("a", code="se"), "Sweden")]
)
def test_a_country_known_in_the_other_way_is_not_judged(seen: Identity, expected: str) -> None:
    """Letters are not guessed from a name, nor a name from letters."""
    assert exit_check.country(seen, expected).passed is None


@pytest.mark.parametrize(
    ("seen", "direct", "asked", "verdict"),
    [
        (EXIT, OTHER, True, True),
        (EXIT, None, True, True),
        (EXIT, EXIT, True, True),
        (OTHER, OTHER, True, False),
        (SAME_UNKNOWN, SAME_UNKNOWN, True, None),
        (EXIT, None, False, None),
    ],
)
def test_not_direct(seen: Identity, direct: Identity | None, asked: bool, verdict: bool | None) -> None:  # noqa: FBT001
    """The same address with and without the proxy is a fault only when it is no VPN's."""
    assert exit_check.not_direct(seen, direct, tried=asked).passed is verdict


@pytest.mark.parametrize(
    ("direct", "tunnel", "same_family", "verdict"),
    [
        (None, True, True, True),
        (EXIT, True, True, True),
        (OTHER_EXIT, True, True, True),
        (OTHER, True, True, False),
        (OTHER, False, True, None),
        (SIX, True, False, None),
        (Identity("2001:db8::1", vpn=True), True, False, True),
        (Identity("2001:db8::1", vpn=False), True, False, False),
    ],
)
def test_leaks(direct: Identity | None, tunnel: bool, same_family: bool, verdict: bool | None) -> None:  # noqa: FBT001
    """What leaves beside the tunnel is one; without the VPN's device here it cannot be told."""
    assert (
        exit_check.leak(EXIT, direct, tried=True, barred=True, tunnel=tunnel, same_family=same_family).passed
        is verdict
    )


def test_a_leak_that_was_not_looked_for() -> None:
    """Nothing is concluded."""
    assert exit_check.leak(EXIT, None, tried=False, barred=True, tunnel=True).passed is None
    assert exit_check.leak(EXIT, None, tried=True, barred=False, tunnel=True).passed is None


@pytest.mark.parametrize(
    ("scheme", "verdict"), [("socks5h", True), ("socks5", False), ("socks4a", True), ("http", True)]
)
def test_dns(scheme: str, verdict: bool) -> None:  # noqa: FBT001
    """Only socks5:// resolves names here."""
    assert exit_check.dns(scheme).passed is verdict
