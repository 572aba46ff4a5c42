"""The test bed does what its page says."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.pod import Pod, missing

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"a pod needs {missing()}")]


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    """One pod for all the tests that leave it as they found it."""
    with Pod() as pod:
        yield pod


def test_a_request_goes_through_the_proxy_and_the_tunnel(pod: Pod) -> None:
    """The client gets its page, Dante logs the session, and wg0 moved the bytes."""
    before = _wg0(pod)
    assert pod.get("/bytes/1000000").startswith("200 1000000 ")
    assert f" {pod.address}.1080" in pod.log.read_text()
    assert _wg0(pod) - before > 1_000_000


def test_delay_is_one_way(pod: Pod) -> None:
    """A request costs two round trips: one for the dial, one for the page."""
    pod.delay(30)
    try:
        seconds = float(pod.get("/get").split()[2])
    finally:
        pod.delay(0)
    assert 0.12 <= seconds < 0.5


def test_a_rate_slows_the_transfer_down(pod: Pod) -> None:
    """A megabyte at 10 Mbit/s takes some 0.8 s, less what the shaper's burst lets through."""
    pod.rate(10)
    try:
        seconds = float(pod.get("/bytes/1000000").split()[2])
    finally:
        pod.rate(None)
    assert 0.7 < seconds < 2


def test_a_cut_stops_all_and_heals(pod: Pod) -> None:
    """Nothing passes while the relay is cut."""
    pod.cut()
    with pytest.raises(RuntimeError, match="timed out"):
        pod.get("/get", timeout=1)
    pod.heal()
    assert pod.get("/get").startswith("200")


def test_the_wire_can_go_down_and_come_back(pod: Pod) -> None:
    """As a node's network does."""
    pod.link_down()
    with pytest.raises(RuntimeError, match="timed out"):
        pod.get("/get", timeout=1)
    pod.link_up()
    assert pod.get("/get").startswith("200")


def test_a_new_wg0_works_without_a_restart_of_dante(pod: Pod) -> None:
    """Its counters start again."""
    pod.get("/bytes/1000000")
    pod.recreate_wg()
    assert _wg0(pod) < 1_000_000
    assert pod.get("/get").startswith("200")


def test_names_fail_as_told(pod: Pod) -> None:
    """A name that does not exist is refused by the proxy."""
    with pytest.raises(RuntimeError, match="SOCKS5"):
        pod.get("/get", host="nx.test")


def test_a_thread_can_enter_a_side(pod: Pod) -> None:
    """It sees that side's devices, and ours again afterwards."""
    with pod.entered("pod"):
        assert "wg0:" in Path("/proc/thread-self/net/dev").read_text()
    assert "wg0:" not in Path("/proc/thread-self/net/dev").read_text()


def test_two_pods_stand_side_by_side_and_share_a_client(pod: Pod) -> None:
    """Each has its own addresses and log; nothing is left of one that has gone."""
    with Pod(beside=pod, keepalive=0) as second:
        assert second.address != pod.address
        assert second.get("/get").startswith("200")
        assert pod.get("/get").startswith("200")
        gone, holder = second.directory, second.pid("pod")
    assert not gone.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(holder, 0)


def _wg0(pod: Pod) -> int:
    """Received bytes of the pod's wg0, read from outside."""
    for line in Path(f"/proc/{pod.pid('pod')}/net/dev").read_text().splitlines():
        if line.strip().startswith("wg0:"):
            return int(line.split()[1])
    raise AssertionError("no wg0")
