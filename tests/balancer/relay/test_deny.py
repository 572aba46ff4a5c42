"""The deny list: what is local, in every spelling, and what is not."""

import pytest

from proxywatch.balancer.relay.deny import Deny, check
from proxywatch.balancer.relay.settings import Settings
from proxywatch.errors import ParseError
from proxywatch.parse.host import canonical

DEFAULT = Deny(Settings().deny)


@pytest.mark.parametrize(
    ("spelling", "entry"),
    [
        ("127.0.0.1", "loopback"),
        ("127.1", "loopback"),
        ("2130706433", "loopback"),
        ("0x7f000001", "loopback"),
        ("0177.0.0.1", "loopback"),
        ("0", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::1", "loopback"),
        ("[::]", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("localhost", "loopback"),
        ("LOCALHOST.", "loopback"),
        ("a.localhost", "loopback"),
        ("ip6-localhost", "loopback"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("224.0.0.1", "link-local"),
        ("printer.local", "link-local"),
        ("ff02::1", "link-local"),
        ("169.254.169.254", "link-local"),
        ("metadata.google.internal", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("10.1.2.3", "private"),
        ("10.1", "private"),
        ("172.31.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("fd12::1", "private"),
        ("router", "private"),
        ("nas.lan", "private"),
        ("x.svc.cluster.local", "link-local"),
        ("db.internal", "private"),
    ],
)
def test_what_is_local(spelling: str, entry: str) -> None:
    """Refused by the defaults, and the entry that refuses it is named."""
    assert DEFAULT.reason(canonical(spelling)) == entry


@pytest.mark.parametrize(
    "host",
    [
        "203.0.113.5",
        "2001:db8::1",
        "example.com",
        "localhost.example.com",
        "172.32.0.1",
        "11.0.0.1",
        "100.128.0.1",
        "64:ff9b::cb00:7105",
        "local.example",
        "xn--a.example",
    ],
)
def test_what_is_not(host: str) -> None:
    """Passed on to the node."""
    assert DEFAULT.reason(canonical(host)) == ""


def test_networks_names_and_domains() -> None:
    """Beside the four words."""
    deny = Deny(["203.0.113.0/24", "2001:db8::/32", "Example.com", ".example.org", "198.51.100.7"])
    assert deny.reason("203.0.113.9") == "203.0.113.0/24"
    assert deny.reason("2001:db8::9") == "2001:db8::/32"
    assert deny.reason("example.com") == "Example.com"
    assert deny.reason("a.example.com") == ""
    assert deny.reason("example.org") == ".example.org"
    assert deny.reason("a.b.example.org") == ".example.org"
    assert deny.reason("198.51.100.7") == "198.51.100.7"
    assert deny.reason("127.0.0.1") == ""


def test_an_entry_that_is_none() -> None:
    """Told at the start."""
    assert check(["a b"])
    assert check(["loopback", ".example.com"]) == ""
    with pytest.raises(ParseError):
        Deny([""])
