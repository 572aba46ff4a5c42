"""What is concluded from libcurl's facts; real faults are in tests/probe/test_transfer_faults.py."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.probe.exchange import Exchange
from proxywatch.probe.outcome import REASONS, STAGES, Phases, explain, judge
from proxywatch.probe.request import Request

GOOD = Exchange(
    id="id", request=Request("latency", "https://a.test/", 5.0, 65536), at=1000.0, handshake=True,
    connected=0.1, hello=0.3, secured=0.6, prepared=0.6, answered=1.0, total=1.5, code=0, message="",
    proxy_code=0, connect_status=0, os_error=0, verify=0, status=200, received=5, full=False,
    speed=None, tail_speed=None, sent=0, endpoints=(), body=b"",
)  # fmt: skip
MOMENT = st.none() | st.floats(0, 100)
REQUESTS = st.builds(
    Request, kind=st.just("latency"),
    url=st.sampled_from(["http://a.test/", "https://a.test/", "http://192.0.2.1/"]),
    timeout=st.just(5.0), limit=st.integers(1, 10), enough=st.booleans(),
    status=st.sampled_from([0, 204, 302]), body=st.sampled_from([None, b"", b"success"]),
)  # fmt: skip
ANYTHING = st.builds(
    Exchange, id=st.just("id"), request=REQUESTS, at=st.just(1000.0),
    handshake=st.booleans(), connected=MOMENT, hello=MOMENT, secured=MOMENT,
    prepared=MOMENT, answered=MOMENT, total=st.floats(0, 100), code=st.integers(0, 110),
    message=st.sampled_from(["", "unexpected eof while reading"]), proxy_code=st.integers(0, 40),
    connect_status=st.sampled_from([0, 200, 407, 503]), os_error=st.integers(0, 130),
    verify=st.integers(0, 70), status=st.integers(0, 999), received=st.integers(0, 20), full=st.booleans(),
    speed=st.none(), tail_speed=st.none(), sent=st.just(0), endpoints=st.just(()),
    body=st.sampled_from([b"", b"success\n", b"<html>"]),
)  # fmt: skip


def _about(phases: Phases) -> list[float | None]:
    return [
        None if seconds is None else round(seconds, 9) for seconds in (getattr(phases, s) for s in STAGES)
    ]


def test_the_phases_add_up() -> None:
    """From moment to moment, without a gap."""
    seen = judge(GOOD)
    assert _about(seen.phases) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert sum(seconds for _, seconds in seen.phases.items()) == pytest.approx(seen.duration)


def test_without_tls() -> None:
    """SOCKS ends where the request can begin; there is no tls phase."""
    seen = judge(
        replace(
            GOOD, request=replace(GOOD.request, url="http://a.test/"), hello=None, secured=None, prepared=0.3
        )
    )
    assert _about(seen.phases) == [0.1, 0.2, None, 0.7, 0.5]


def test_without_a_proxy() -> None:
    """TLS begins at the connection; nothing is invented for SOCKS."""
    assert _about(judge(replace(GOOD, handshake=False)).phases) == [0.1, None, 0.5, 0.4, 0.5]


@pytest.mark.parametrize(
    ("reached", "stage", "phases"),
    [
        ({"connected": None}, "proxy_connect", []),
        ({"hello": None}, "socks", ["proxy_connect"]),
        ({}, "tls", ["proxy_connect", "socks"]),
        ({"secured": 0.6, "prepared": 0.6}, "first_byte", ["proxy_connect", "socks", "tls"]),
        (
            {"secured": 0.6, "prepared": 0.6, "answered": 1.0},
            "transfer",
            ["proxy_connect", "socks", "tls", "first_byte"],
        ),
    ],
)
def test_time_runs_out_in_the_phase_that_was_under_way(
    reached: dict[str, float | None], stage: str, phases: list[str]
) -> None:
    """And only phases that ended have a duration."""
    moments: dict[str, float | None] = {"secured": None, "prepared": None, "answered": None, **reached}
    seen = judge(replace(GOOD, code=28, **moments))  # type: ignore[arg-type]
    assert (seen.stage, seen.reason) == (stage, "timeout")
    assert [name for name, _ in seen.phases.items()] == phases


@given(ANYTHING)
def test_every_verdict_is_on_the_list(exchange: Exchange) -> None:
    """Whatever libcurl may say one day: no series appears that did not exist from the start."""
    seen = judge(exchange)
    assert (seen.stage is None) == (seen.reason is None)
    assert seen.stage is None or (seen.stage, seen.reason) in REASONS
    assert all(seconds >= 0 for _, seconds in seen.phases.items())
    assert seen.ok or seen.message()


@pytest.mark.parametrize(
    ("status", "body", "expected", "verdict"),
    [
        (204, b"", (204, None), (None, None)),
        (200, b"<html>log in", (204, None), ("transfer", "wrong_status")),
        (200, b"success\n", (200, b"success"), (None, None)),
        (200, b"<html>success", (200, b"success"), ("transfer", "wrong_body")),
        (200, b"x", (0, b""), ("transfer", "wrong_body")),
        (302, b"", (204, None), ("first_byte", "redirect")),
        (302, b"", (302, None), (None, None)),
        (503, b"", (204, None), ("first_byte", "status")),
        (503, b"", (503, None), (None, None)),
        (200, b"anything", (0, None), (None, None)),
    ],
)
def test_an_answer_is_held_against_what_is_expected(
    status: int, body: bytes, expected: tuple[int, bytes | None], verdict: tuple[str | None, str | None]
) -> None:
    """A login page in place of the target is a failure, whatever its status."""
    request = replace(GOOD.request, status=expected[0], body=expected[1])
    seen = judge(replace(GOOD, request=request, status=status, body=body))
    assert (seen.stage, seen.reason) == verdict
    assert seen.wrong_answer == (verdict[0] == "transfer")


def test_a_failure_in_words() -> None:
    """Its stage first, then a sentence of its own."""
    assert explain("socks", "rule") == "socks: connection refused by the proxy's rule"
    assert len(set(REASONS.values())) == len(REASONS)
