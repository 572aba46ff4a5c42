"""Which source each figure has, and when two are said to differ."""

from typing import Any

import pytest

from proxywatch.errors import NoData
from proxywatch.exporter.collector import traffic
from proxywatch.exporter.collector.traffic import Asked, TrafficCollector
from proxywatch.tcp.comparison import Ended
from support.fakes import FakeClock
from support.metrics import samples


class Others:
    """What the other collectors know; None where they know nothing."""

    def __init__(self, **known: Any) -> None:
        self.known = known

    def collector(self, clock: FakeClock | None = None) -> TrafficCollector:
        names = ("device", "has_device", "payload", "log_mean", "kernel_mean", "log_ended", "kernel_ended")
        return traffic.build(
            Asked(**{name: lambda name=name: self.known.get(name) for name in names}), clock or FakeClock()
        )


@pytest.mark.parametrize(
    ("known", "transferred"),
    [
        ({"device": 500, "has_device": True, "payload": 450}, 500),
        ({"device": 0, "has_device": False, "payload": 450}, 450),  # no such device on this host
        ({"payload": 450}, 450),  # nobody looks for one
        ({"device": 0, "has_device": False}, 0),
        ({}, None),
    ],
)
def test_where_bytes_are_from(known: dict[str, Any], transferred: int | None) -> None:
    """The device where there is one, else the kernel's account."""
    assert samples(Others(**known).collector()).get("proxy_bytes_transferred_total") == transferred


def test_bytes_go_on_when_a_device_appears() -> None:
    """The sum never falls, whatever the other source has counted before."""
    others = Others(device=0, has_device=False, payload=4000)
    collector = others.collector()
    assert samples(collector)["proxy_bytes_transferred_total"] == 4000
    others.known |= {"device": 30, "has_device": True, "payload": 4100}
    assert samples(collector)["proxy_bytes_transferred_total"] == 4000
    others.known |= {"device": 130}
    assert samples(collector)["proxy_bytes_transferred_total"] == 4100


@pytest.mark.parametrize(
    ("known", "mean"),
    [
        ({"log_mean": 2.5, "kernel_mean": 3.0}, 2.5),
        ({"kernel_mean": 3.0}, 3.0),
        ({}, None),
    ],
)
def test_where_the_mean_duration_is_from(known: dict[str, Any], mean: float | None) -> None:
    """The log where it tells, else the kernel."""
    assert samples(Others(**known).collector()).get("proxy_avg_connection_duration_seconds") == mean


async def test_what_check_says() -> None:
    """Which source each figure has."""
    [finding] = await Others(device=1, has_device=True, kernel_mean=3.0).collector().examine()
    assert "from the VPN's device, the mean duration from the kernel's account" in finding.text
    [finding] = await Others(payload=1, log_mean=3.0).collector().examine()
    assert "from the kernel's account of connections, the mean duration from the log" in finding.text


async def test_nobody_knows() -> None:
    """It is no failure of anybody."""
    with pytest.raises(NoData):
        await Others().collector().update()


async def test_a_difference_that_stays_is_shown() -> None:
    """On the page, as a series, and by `check`."""
    clock = FakeClock()
    others = Others(payload=1, kernel_ended=Ended(0, 0), log_ended=(0, 0))
    collector = others.collector(clock)
    for n in range(20):
        others.known |= {"kernel_ended": Ended(20 * n, 20_000 * n), "log_ended": (10 * n, None)}
        await collector.update()
        await clock.advance(10)
    assert samples(collector)['proxy_traffic_disagreement{figure="connections"}'] == 1
    assert collector.status().differing == ["connections"]
    assert (await collector.examine())[1].level == "hint"
    others.known["log_ended"] = None
    await collector.update()
    assert 'proxy_traffic_disagreement{figure="connections"}' not in samples(collector)
