"""What is concluded from libcurl's facts; real faults are in tests/probe/test_transfer_faults.py."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.probe.outcome import REASONS, STAGES, Phases, explain, judge


@dataclass
class Seen:
    """A good probe of an https target, as libcurl reports it."""

    id: str = "id"
    kind: str = "latency"
    target: str = "https://a.test/"
    wanted: int = 0
    at: float = 1000.0
    handshake: bool = True
    connected: float | None = 0.1
    hello: float | None = 0.3
    secured: float | None = 0.6
    prepared: float | None = 0.6
    answered: float | None = 1.0
    total: float = 1.5
    code: int = 0
    message: str = ""
    proxy_code: int = 0
    connect_status: int = 0
    os_error: int = 0
    verify: int = 0
    status: int = 200
    received: int = 5
    full: bool = False
    speed: float | None = None
    tail_speed: float | None = None


GOOD = Seen()
MOMENT = st.none() | st.floats(0, 100)
ANYTHING = st.builds(
    Seen, target=st.sampled_from(["http://a.test/", "https://a.test/", "http://192.0.2.1/"]),
    wanted=st.integers(0, 10), handshake=st.booleans(), connected=MOMENT, hello=MOMENT, secured=MOMENT,
    prepared=MOMENT, answered=MOMENT, total=st.floats(0, 100), code=st.integers(0, 110),
    message=st.sampled_from(["", "unexpected eof while reading"]), proxy_code=st.integers(0, 40),
    connect_status=st.sampled_from([0, 200, 407, 503]), os_error=st.integers(0, 130),
    verify=st.integers(0, 70), status=st.integers(0, 999), received=st.integers(0, 20), full=st.booleans(),
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
    seen = judge(replace(GOOD, target="http://a.test/", hello=None, secured=None, prepared=0.3))
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
def test_every_verdict_is_on_the_list(facts: Seen) -> None:
    """Whatever libcurl may say one day: no series appears that did not exist from the start."""
    seen = judge(facts)
    assert (seen.stage is None) == (seen.reason is None)
    assert seen.stage is None or (seen.stage, seen.reason) in REASONS
    assert all(seconds >= 0 for _, seconds in seen.phases.items())
    assert seen.ok or seen.words()


def test_a_failure_in_words() -> None:
    """Its stage first, then a sentence of its own."""
    assert explain("socks", "rule") == "socks: connection refused by the proxy's rule"
    assert len(set(REASONS.values())) == len(REASONS)
