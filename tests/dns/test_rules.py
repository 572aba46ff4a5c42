"""Who may ask, how much, and whom we ask."""

from ipaddress import ip_network

import pytest

from proxywatch.dns.access import Access
from proxywatch.dns.rate import InFlight, Rate
from proxywatch.dns.settings import Settings
from proxywatch.dns.upstream.health import Health


@pytest.mark.parametrize(
    ("client", "standing"),
    [
        ("127.0.0.1", "local"), ("127.9.9.9", "local"), ("::1", "local"), ("::ffff:127.0.0.1", "local"),
        ("10.1.2.3", "allowed"), ("::ffff:10.1.2.3", "allowed"), ("192.168.0.9", "allowed"),
        ("fe80::1%eth0", "allowed"), ("fd00::1", "allowed"),
        ("8.8.8.8", "refused"), ("::ffff:8.8.8.8", "refused"), ("2001:db8::1", "refused"), ("", "refused"),
        ("no address", "refused"),
    ],
)  # fmt: skip
def test_private_clients_may_ask_by_default(client: str, standing: str) -> None:
    access = Access([each.network for each in Settings.__struct_defaults__[_index("allow")]])
    assert access.standing(client) == standing
    assert access.standing(client) == standing


def _index(name: str) -> int:
    fields = Settings.__struct_fields__
    return fields.index(name) - (len(fields) - len(Settings.__struct_defaults__))


def test_nobody_but_this_machine_where_no_network_is_allowed() -> None:
    access = Access([])
    assert access.standing("127.0.0.1") == "local"
    assert access.standing("10.0.0.1") == "refused"
    assert Access([ip_network("10.0.0.0/31")]).standing("10.0.0.1") == "allowed"


def test_the_memory_of_clients_has_a_bound() -> None:
    access = Access([])
    for number in range(5000):
        access.standing(f"10.0.{number // 256}.{number % 256}")
    assert len(access._known) == 4096


def test_a_client_over_its_rate_gets_half_of_its_replies_truncated_and_the_rest_dropped() -> None:
    rate = Rate(10)
    assert [rate.admit("a", 0.0) for _ in range(10)] == ["answer"] * 10
    assert [rate.admit("a", 0.0) for _ in range(4)] == ["truncate", "drop", "truncate", "drop"]
    assert rate.admit("b", 0.0) == "answer"
    assert rate.admit("a", 0.2) == "answer"
    assert rate.admit("a", 0.2) == "answer"
    assert rate.admit("a", 0.2) != "answer"
    assert all(Rate(0).admit("a", 0.0) == "answer" for _ in range(100))


def test_what_waits_is_bounded_for_each_and_for_all() -> None:
    waiting = InFlight(2, 3)
    assert [waiting.enter("a"), waiting.enter("a"), waiting.enter("a")] == [True, True, False]
    assert [waiting.enter("b"), waiting.enter("b")] == [True, False]
    waiting.leave("a")
    assert waiting.enter("b")
    for client in "abb":
        waiting.leave(client)
    assert (waiting.total, dict(waiting._clients)) == (0, {})
    assert [waiting.enter("l", local=True) for _ in range(4)] == [True, True, True, False]


def test_a_resolver_that_fails_is_asked_last_and_tried_again() -> None:
    health = Health(["a", "b"])
    for _ in range(3):
        assert health.order(0.0) == ["a", "b"]
        health.failed("a", 0.0)
    assert health.order(0.9) == ["b", "a"]
    assert health.order(1.0) == ["a", "b"]
    health.began("a", 1.0)
    assert health.order(1.0) == ["b", "a"], "one query tries it, not all of them"
    health.failed("a", 1.5)
    assert health.order(3.4) == ["b", "a"]
    assert health.order(3.5) == ["a", "b"]
    health.began("a", 3.5)
    health.answered("a")
    assert health.order(3.5) == ["a", "b"]
    health.failed("a", 3.5)
    assert health.order(3.5) == ["a", "b"]
    assert health.counts("a") == (1, 5)


def test_failures_of_queries_that_were_under_way_lengthen_no_pause() -> None:
    health = Health(["a"])
    for _ in range(50):
        health.failed("a", 0.0)
    assert not health.up("a", 0.9)
    assert health.up("a", 1.0)


def test_pauses_double_up_to_a_minute() -> None:
    health, now = Health(["a"]), 0.0
    for _ in range(3):
        health.failed("a", now)
    lengths = []
    for _ in range(9):
        began = now
        while not health.up("a", now):
            now += 0.25
        lengths.append(now - began)
        health.began("a", now)
        health.failed("a", now)
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_when_all_are_paused_the_one_that_ends_soonest_is_first() -> None:
    health = Health(["a", "b"])
    for name, at in (("a", 5.0), ("b", 4.5)):
        for _ in range(3):
            health.failed(name, at)
    assert health.order(5.0) == ["b", "a"]
