"""What speed tests say on links of known rate and distance, through a real WireGuard and a real Dante.

    sudo PYTHONPATH=src:tests:proof python proof/bench/bench_links.py [MBIT ...]

For each rate: the goodput of a long transfer by the curl program, and a speed test that reads on for some
seconds, as a share of it; then what the default of 1 MB says at several round trips, and its second half.
"""

import statistics
import sys

import uvloop

from proxywatch.probe.outcome import Transfer
from proxywatch.probe.proxy import Proxy
from proxywatch.probe.request import Request
from support.probing import prober
from testbed.pod import WEB, Pod

ROUND_TRIPS = (0, 50, 100, 200)
_LONG, _MEGABYTE, _SECONDS = 200_000_000, 1_000_000, 8.0


def curl(pod: Pod, seconds: float) -> float:
    """Goodput of the curl program over so many seconds of body, in bytes per second."""
    report = "%{size_download} %{time_starttransfer} %{time_total}"
    options = ("-s", "-m", str(seconds), "-o", "/dev/null", "-w", report, "-x", pod.proxy)
    words = pod.exec(
        "client", "curl", *options, f"http://{WEB}/bytes/{_LONG}", timeout=seconds + 5, check=False
    )
    size, start, end = map(float, words.split())
    return size / (end - start)


def ours(pod: Pod, *, least: int = _MEGABYTE, most: int = _MEGABYTE, seconds: float = 0.0) -> Transfer:
    """One speed test from the client's side."""

    async def once() -> Transfer:
        maker = prober(Proxy(url=pod.proxy))
        url = f"http://{WEB}/bytes/{most}"
        request = Request("speed", url, 60, most, enough=True, least=least, min_duration=seconds)
        try:
            return await maker.probe(request)
        finally:
            await maker.transfers.aclose()

    with pod.entered("client"):
        return uvloop.run(once())


def mbit(speed: float | None) -> float:
    """Bytes per second as 10^6 bits per second; 0 for a test that failed."""
    return (speed or 0.0) * 8 / 1e6


def main() -> None:
    """Print both tables."""
    rates = [float(word) for word in sys.argv[1:]] or [5.0, 20.0, 100.0]
    with Pod() as pod:
        print("| link, Mbit/s | curl, long | a speed test of 8 s | ratio |\n|--:|--:|--:|--:|")
        for rate in rates:
            pod.rate(rate)
            reference = mbit(curl(pod, _SECONDS))
            seen = mbit(ours(pod, most=_LONG, seconds=_SECONDS).speed)
            print(f"| {rate:g} | {reference:.2f} | {seen:.2f} | {seen / reference:.3f} |", flush=True)
        titles = " | ".join(f"{trip} ms" for trip in ROUND_TRIPS)
        print(f"\n| link, Mbit/s | {titles} |\n|--:|{'--:|' * len(ROUND_TRIPS)}")
        for rate in rates:
            cells = []
            pod.rate(rate)
            for trip in ROUND_TRIPS:
                pod.delay(trip / 2)
                tests = [ours(pod) for _ in range(3)]
                whole, tail = (
                    statistics.median(mbit(getattr(t, name)) for t in tests)
                    for name in ("speed", "tail_speed")
                )
                cells.append(f"{whole:.1f} ({tail:.1f})")
            pod.delay(0)
            print(f"| {rate:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
