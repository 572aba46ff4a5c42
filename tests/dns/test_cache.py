"""Answers live as long as they may, age, and never take more memory than they were given."""

import gc
import tracemalloc

import dns.flags
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.dns.cache import Cache, Terms
from proxywatch.dns.message import NXDOMAIN, REFUSED, SERVFAIL, Question
from support.dns_messages import asked, response, soa, ttls

A60 = "a.test. 60 IN A 192.0.2.1"


def kept(cache: Cache, now: float, name: str = "a.test") -> list[int] | None:
    entry = cache.get(asked(name), now)
    return None if entry is None else ttls(entry.fresh(now))


def test_an_answer_ages_and_dies() -> None:
    cache = Cache(Terms())
    cache.put(asked(), response(asked(), A60), 1000.0)
    assert kept(cache, 1000.0) == [60]
    assert kept(cache, 1000.9) == [60]
    assert kept(cache, 1025.5) == [35]
    assert kept(cache, 1025.6) == [35]
    assert kept(cache, 1059.9) == [1]
    assert kept(cache, 1060.0) is None


@given(st.lists(st.floats(0, 59.9), max_size=20).map(sorted))
def test_looking_often_ages_no_faster(times: list[float]) -> None:
    cache = Cache(Terms())
    cache.put(asked(), response(asked(), A60), 1000.5)
    for after in times:
        assert kept(cache, 1000.5 + after) == [60 - int(1000.5 + after - 1000.5)]


def test_the_shortest_ttl_rules() -> None:
    cache = Cache(Terms())
    records = ["a.test. 300 IN CNAME b.test.", "b.test. 20 IN A 192.0.2.1"]
    cache.put(asked(), response(asked(), *records), 0.0)
    assert kept(cache, 19.0) == [281, 1]
    assert kept(cache, 20.0) is None


@pytest.mark.parametrize(
    ("records", "authority", "rcode", "life"),
    [
        ((), soa(300, 60), NXDOMAIN, 60),
        ((), soa(30, 600), NXDOMAIN, 30),
        ((), soa(300, 60), 0, 60),
        (("a.test. 10 IN CNAME b.test.",), soa(300, 60), 0, 10),
        (("a.test. 10 IN CNAME b.test.",), soa(300, 60), NXDOMAIN, 10),
        ((), soa(90000, 90000), NXDOMAIN, 3600),
        ((), "", NXDOMAIN, 0),
        ((), "", 0, 0),
        ((), "test. 300 IN NS ns.test.", 0, 0),
        ((A60,), "", SERVFAIL, 0),
        ((A60,), "", REFUSED, 0),
        (("a.test. 0 IN A 192.0.2.1",), "", 0, 0),
        (("a.test. 900000 IN A 192.0.2.1",), "", 0, 86400),
        (("a.test. 4294967295 IN A 192.0.2.1",), "", 0, 86400),
    ],
)
def test_lives(records: tuple[str, ...], authority: str, rcode: int, life: int) -> None:
    cache = Cache(Terms())
    if "4294967295" in "".join(records):  # dnspython writes no such TTL
        made = response(asked(), A60)
        wire = bytearray(made.wire)
        at = made.records[0].ttl_at
        wire[at : at + 4] = b"\xff" * 4
        made = made._replace(wire=bytes(wire), records=(made.records[0]._replace(ttl=0xFFFFFFFF),))
    else:
        made = response(asked(), *records, rcode=rcode, authority=authority)
    entry = cache.put(asked(), made, 0.0)
    assert entry.expires == life
    assert (cache.get(asked(), 0.0) is not None) == bool(life)
    if life:
        assert max(ttls(entry.fresh(0.0))) <= max(life, 300)


def test_a_negative_answer_is_told_with_no_longer_ttl_than_its_life() -> None:
    cache = Cache(Terms())
    cache.put(asked(), response(asked(), rcode=NXDOMAIN, authority=soa(300, 60)), 0.0)
    assert kept(cache, 0.0) == [60]


def test_a_truncated_answer_is_not_kept() -> None:
    cache = Cache(Terms())
    cache.put(asked(), response(asked(), A60, flags=dns.flags.TC), 0.0)
    assert cache.get(asked(), 0.0) is None


def test_the_least_life_lengthens_but_keeps_nothing_that_must_not_be_kept() -> None:
    cache = Cache(Terms(least=300))
    assert cache.put(asked(), response(asked(), A60), 0.0).expires == 300
    assert kept(cache, 100.0) == [0]
    assert cache.put(asked(), response(asked(), "a.test. 0 IN A 192.0.2.1"), 0.0).expires == 0
    assert cache.put(asked(), response(asked(), rcode=NXDOMAIN, authority=soa(5, 5)), 0.0).expires == 5


def test_failures_live_apart_and_shortly() -> None:
    cache = Cache(Terms(stale=3600, least=3600))
    cache.put(asked(), response(asked(), A60), 0.0)
    cache.fail(asked(), 4000.0)
    assert cache.failed(asked(), 4004.9)
    assert cache.stale(asked(), 4004.9) is not None
    assert not cache.failed(asked(), 4005.0)
    cache.fail(asked(), 4010.0)
    cache.put(asked(), response(asked(), A60), 4011.0)
    assert not cache.failed(asked(), 4011.0)


def test_failures_have_a_bound() -> None:
    cache = Cache(Terms())
    for number in range(11_000):
        cache.fail(asked(f"n{number}.test"), 0.0)
    assert not cache.failed(asked("n0.test"), 0.0)
    assert cache.failed(asked("n10999.test"), 0.0)


def test_a_stale_answer_may_be_told_for_a_while() -> None:
    cache = Cache(Terms(stale=100))
    cache.put(asked(), response(asked(), A60), 0.0)
    assert cache.get(asked(), 60.0) is None
    stale = cache.stale(asked(), 159.0)
    assert stale is not None
    assert ttls(stale.stale()) == [30]
    assert cache.stale(asked(), 160.0) is None
    assert (len(cache), cache.held) == (0, 0)


def test_those_asked_for_least_recently_go() -> None:
    one = (
        Cache(Terms())
        .put(asked("n0.test"), response(asked("n0.test"), "n0.test. 60 IN A 192.0.2.1"), 0.0)
        .held
    )
    cache = Cache(Terms(size=3 * one))
    for number in range(3):
        name = f"n{number}.test"
        cache.put(asked(name), response(asked(name), f"{name}. 60 IN A 192.0.2.1"), 0.0)
    assert kept(cache, 1.0, "n0.test")
    cache.put(asked("n3.test"), response(asked("n3.test"), "n3.test. 60 IN A 192.0.2.1"), 1.0)
    assert [bool(kept(cache, 1.0, f"n{number}.test")) for number in range(4)] == [True, False, True, True]
    assert (cache.held, cache.evicted) == (3 * one, 1)


def test_an_answer_larger_than_the_cache_is_given_but_not_kept() -> None:
    cache = Cache(Terms(size=1000))
    record = "a.test. 60 IN TXT " + " ".join(f'"{"x" * 200}"' for _ in range(5))
    entry = cache.put(asked(kind=16), response(asked(kind=16), record), 0.0)
    assert ttls(entry.fresh(0.0)) == [60]
    assert (len(cache), cache.held) == (0, 0)


def test_the_bound_is_on_memory_that_is_really_held() -> None:
    """Python allocates no more for entries than they are counted with, and not much less."""
    made = []
    for number in range(2000):
        question = asked(f"host-{number}.example.test")
        made.append((question, response(question, f"host-{number}.example.test. 60 IN A 192.0.2.1")))
    gc.collect()
    tracemalloc.start()
    try:
        cache = Cache(Terms(size=1_000_000))
        before = tracemalloc.get_traced_memory()[0]
        for question, told in made:  # copies, as what came before was not traced
            copied = Question(bytes(bytearray(question.name)), *question[1:])
            cache.put(copied, told._replace(wire=bytes(bytearray(told.wire))), 0.0)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert cache.evicted > 0
    assert cache.held <= 1_000_000
    assert 0.7 * cache.held < grown <= cache.held


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["put", "get", "stale", "fail"]), st.integers(0, 90))
    )
)
def test_the_books_are_right_after_anything(steps: list[tuple[int, str, int]]) -> None:
    cache, now = Cache(Terms(size=4000, stale=30)), 0.0
    for number, step, wait in steps:
        now += wait
        question = asked(f"n{number}.test")
        match step:
            case "put":
                cache.put(question, response(question, f"n{number}.test. 60 IN A 192.0.2.1"), now)
            case "get":
                cache.get(question, now)
            case "stale":
                cache.stale(question, now)
            case _:
                cache.fail(question, now)
        assert cache.held == sum(entry.held for entry in cache._entries.values()) <= 4000
