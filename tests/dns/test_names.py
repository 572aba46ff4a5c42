"""Block lists and names that stay on this machine."""

import pytest

from proxywatch.dns.message import NOERROR, NXDOMAIN, A
from proxywatch.dns.names import Blocked, local, read_blocked, to_wire
from proxywatch.errors import ParseError


def test_a_blocked_name_takes_all_below_it_along() -> None:
    blocked = Blocked([to_wire("ads.test")])
    assert to_wire("ads.test") in blocked
    assert to_wire("a.b.ads.test") in blocked
    assert to_wire("test") not in blocked
    assert to_wire("bads.test") not in blocked
    assert to_wire("ads.test.other") not in blocked
    assert b"\0" not in blocked


def test_a_list_may_be_names_or_a_hosts_file() -> None:
    lines = [
        "# comment",
        "",
        "Ads.Test # one",
        "0.0.0.0 two.test three.test.",
        "*.four.test",
        "bad..name",
        "ü.test",
    ]
    blocked, bad = read_blocked(lines, 10)
    assert [name for name in ("ads", "two", "three", "x.four") if to_wire(f"{name}.test") in blocked] == [
        "ads", "two", "three", "x.four",
    ]  # fmt: skip
    assert (len(blocked), bad) == (4, 2)


def test_a_list_has_a_bound() -> None:
    blocked, bad = read_blocked((f"n{number}.test" for number in range(20)), 5)
    assert (len(blocked), bad) == (5, 15)


@pytest.mark.parametrize("name", ["", ".", "a..b", "a" * 64, ".".join(["a" * 60] * 5), "a b", "ü"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ParseError):
        to_wire(name)


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("localhost", NOERROR), ("a.localhost", NOERROR), ("x.invalid", NXDOMAIN), ("x.onion", NXDOMAIN),
        ("_dns.resolver.arpa", NOERROR), ("localhost.test", None), ("mylocalhost", None), ("arpa", None),
        ("1.in-addr.arpa", None),
    ],
)  # fmt: skip
def test_some_names_never_leave(name: str, rcode: int | None) -> None:
    said = local(to_wire(name), A)
    assert (said.rcode if said else None) == rcode


def test_the_root_is_no_local_name() -> None:
    assert local(b"\0", A) is None
