"""Transfers over a real tunnel of known rate and distance; seen with `pytest -s -m slow`."""

import socket
import time
from collections.abc import Iterator
from statistics import median

import pytest
import uvloop

from proxywatch.probe.outcome import Transfer
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.request import Request
from support.probing import prober, request
from testbed.faulty_socks import Talk, faulty
from testbed.pod import WEB, Pod, missing

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason="no pod here")]
_LONG, _SECONDS, _ROUNDS = 200_000_000, 4.0, 3


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    with Pod() as made:
        yield made


def _curl(pod: Pod) -> float:
    """Goodput of a long transfer by the curl program, from the first byte on, in bytes per second."""
    report = "%{size_download} %{time_starttransfer} %{time_total}"
    options = ("-s", "-m", str(_SECONDS), "-o", "/dev/null", "-w", report, "-x", pod.proxy)
    words = pod.exec("client", "curl", *options, f"http://{WEB}/bytes/{_LONG}", check=False)
    size, start, end = map(float, words.split())
    return size / (end - start)


async def _speed(proxy: str) -> Transfer:
    maker = prober(Proxy(url=proxy))
    url = f"http://{WEB}/bytes/{_LONG}"
    seen = await maker.probe(
        Request("speed", url, 60, _LONG, enough=True, least=1_000_000, min_duration=_SECONDS)
    )
    await maker.transfers.aclose()
    return seen


@pytest.mark.parametrize("mbit", [5, 20, 100])
def test_speed_is_what_the_curl_program_gets(mbit: int, pod: Pod) -> None:
    """Within 3 % on a link of known rate, through a real Dante; in turns, as the machine has its moods."""
    pod.rate(mbit)
    ratios = []
    for _ in range(_ROUNDS):
        reference = _curl(pod)
        with pod.entered("client"):
            seen = uvloop.run(_speed(pod.proxy))
        assert seen.speed, seen
        ratios.append(seen.speed / reference)
        print(f"{mbit} Mbit/s: curl {reference * 8e-6:.2f}, ours {seen.speed * 8e-6:.2f}, {ratios[-1]:.3f}")
    pod.rate(None)
    assert 0.97 <= median(ratios) <= 1.03


@pytest.mark.parametrize("milliseconds", [20, 100, 250, 500])
def test_connecting_takes_a_round_trip(milliseconds: int, pod: Pod) -> None:
    """As long as a plain connect over the same tunnel: within 2 ms and 1 %, in turns.

    The relay that delays is a program too and late under load, so both are held against each other.
    """

    async def connect(port: int) -> float:
        maker = prober(Proxy(url=f"socks5h://{host}:{port}"))
        seen = await maker.probe(request("http://localhost/", timeout=10))
        await maker.transfers.aclose()
        assert seen.phases.proxy_connect, seen
        return seen.phases.proxy_connect

    def plainly(port: int) -> float:
        start = time.perf_counter()
        with socket.create_connection((host, port), 10):
            return time.perf_counter() - start

    host = f"10.92.{pod.number}.1"
    with pod.entered("far"), faulty(Talk.reset, host=host) as port, pod.entered("pod"):
        pod.delay(milliseconds / 2)
        pairs = [(uvloop.run(connect(port)), plainly(port)) for _ in range(9)]
        pod.delay(0)
    ours, plain = (median(column) * 1000 for column in zip(*pairs, strict=True))
    print(f"round trip {milliseconds} ms: proxy_connect {ours:.1f} ms, a plain connect {plain:.1f} ms")
    assert abs(ours - plain) <= 2 + 0.01 * milliseconds
