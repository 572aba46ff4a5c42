"""Leaks in a real pod: the host's own traffic leaves through the tunnel, beside it, or not at all."""

from collections.abc import Iterator
from random import Random

import pytest
import uvloop

from proxywatch.clock import SystemClock
from proxywatch.exporter.collector import exit as exit_
from proxywatch.exporter.collector.exit import Settings
from proxywatch.probe.proxy import Proxy
from proxywatch.quantity import Duration, Url
from support.metrics import samples
from support.probing import prober
from testbed.pod import WEB, Pod, missing

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason="no pod here")]


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    with Pod() as made:
        yield made


def _look(pod: Pod) -> dict[str, float]:
    """One round of a collector inside the pod."""

    async def once() -> dict[str, float]:
        maker = prober(Proxy(url="socks5h://127.0.0.1:1080"))
        settings = Settings(
            direct=True, timeout=Duration(2), urls=(Url(f"http://{WEB}/get"), Url(f"http://{WEB}/get?again"))
        )
        collector = exit_.build(settings, maker, tunnel=lambda: True, clock=SystemClock(), dice=Random(1))
        try:
            await collector.update()
        finally:
            await maker.transfers.aclose()
        return samples(collector)

    with pod.entered("pod"):
        return uvloop.run(once())


def test_all_goes_through_the_tunnel(pod: Pod) -> None:
    """The host's own connections leave where the proxy's do; there is no IPv6."""
    seen = _look(pod)
    assert seen[f'proxy_exit_info{{city="",country="",ip="10.92.{pod.number}.2",server=""}}'] == 1
    assert seen['proxy_exit_check{check="no_leak"}'] == 1
    assert seen['proxy_exit_check{check="no_leak_ipv6"}'] == 1
    assert 'proxy_exit_check{check="not_direct"}' not in seen, "no service says whether it is a VPN's"


def test_a_leak_beside_the_tunnel_is_told(pod: Pod) -> None:
    """The proxy still uses the tunnel; whatever else the host sends does not."""
    pod.exec("pod", "ip", "route", "add", "default", "dev", "wg0", "table", "100")
    pod.exec("pod", "ip", "rule", "add", "from", f"10.92.{pod.number}.2", "lookup", "100")
    pod.exec("pod", "ip", "route", "add", f"{WEB}/32", "via", f"10.91.{pod.number}.1")
    seen = _look(pod)
    assert seen[f'proxy_exit_info{{city="",country="",ip="10.92.{pod.number}.2",server=""}}'] == 1
    assert seen['proxy_exit_check{check="no_leak"}'] == 0
    assert seen['proxy_exit_check{check="not_direct"}'] == 1


def test_a_kill_switch_is_no_leak(pod: Pod) -> None:
    """Nothing gets out beside the tunnel at all."""
    pod.exec("pod", "ip", "route", "replace", "unreachable", f"{WEB}/32")
    seen = _look(pod)
    assert seen['proxy_exit_check{check="no_leak"}'] == 1
    assert seen['proxy_exit_check{check="not_direct"}'] == 1
