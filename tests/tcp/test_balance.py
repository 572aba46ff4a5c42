"""The kernel's own counts against what it reported."""

import pytest

from proxywatch.errors import ParseError
from proxywatch.tcp.balance import Balance, Openings

SNMP = b"""Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab
Tcp: 1 200 120000 -1 1200 300 45 6 7
Udp: InDatagrams
Udp: 9
"""


def test_the_counts() -> None:
    """Opened from here and to here together."""
    assert Openings.parse(SNMP) == (1500, 45)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        SNMP.replace(b"Tcp:", b"Tcp4:"),
        SNMP.replace(b"AttemptFails", b"X"),
        SNMP.replace(b"1200", b"many"),
        SNMP.replace(b" 6 7", b""),
    ],
)
def test_another_format(content: bytes) -> None:
    """Is refused."""
    with pytest.raises(ParseError):
        Openings.parse(content)


def test_all_is_reported() -> None:
    """What began has ended or lives, whatever was there before."""
    balance = Balance()
    balance.observe(Openings(1000, 10), 0, 0, 40)
    for n in range(5):
        balance.observe(Openings(1100 + n, 10), 90 + n, 0, 50)
    assert balance.unreported == 0


def test_a_difference_counts_when_it_stays() -> None:
    """One look may fall between a beginning and its report."""
    balance = Balance()
    balance.observe(Openings(1000, 0), 0, 0, 0)
    for surplus in (3, 7, 0, 5, 5, 6):
        balance.observe(Openings(1000 + surplus, 0), 0, 0, 0)
    assert balance.unreported == 5
    for _ in range(3):
        balance.observe(Openings(1000, 0), 0, 0, 0)
    assert balance.unreported == 5, "a counter never falls"


def test_a_socket_that_dials_again() -> None:
    """It is opened each time, and ends once."""
    balance = Balance()
    balance.observe(Openings(0, 0), 0, 0, 0)
    for n in range(1, 5):
        balance.observe(Openings(100 * n, 100 * n), n, n, 0)
    assert balance.unreported == 0
