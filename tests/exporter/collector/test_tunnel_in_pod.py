"""The tunnel's and the device's collectors on a real pod: states, bytes, sources."""

import asyncio
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxywatch.clock import SystemClock
from proxywatch.exporter.collector.interface import InterfaceCollector
from proxywatch.exporter.collector.wireguard import WireguardCollector, sources
from proxywatch.source import command, genetlink, uapi
from proxywatch.wireguard import device as wireguard
from proxywatch.wireguard.tunnel import State
from support.metrics import samples
from support.netlink_bytes import device_answer, family_answer
from support.tunnels import collector_on, read_in, wg_in
from testbed.pod import Pod, missing

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"a pod needs {missing()}")]


@pytest.fixture(scope="module")
def pod() -> Iterator[Pod]:
    """A pod whose tunnel says nothing of its own accord."""
    with Pod(keepalive=0) as pod:
        yield pod


class Hurried(SystemClock):
    """The machine's clocks, put forward by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def _state(collector: WireguardCollector) -> State:
    await collector.update()
    tunnel = collector.tunnel()
    assert tunnel
    return tunnel.state


async def _until(collector: WireguardCollector, state: State, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while await _state(collector) is not state:
        assert time.monotonic() < deadline, collector.tunnel()
        await asyncio.sleep(0.05)


async def test_every_state_on_a_real_tunnel_with_the_time_put_forward() -> None:
    """Never, fresh, idle, dead by a cut and by a wire that is down, healed, absent, made anew."""
    clock = Hurried()
    with Pod(keepalive=0, connected=False) as pod:
        collector = collector_on(pod, clock)
        assert await _state(collector) is State.NEVER
        pod.heal()
        await _until(collector, State.FRESH)
        clock.ahead += 181
        assert await _state(collector) is State.IDLE
        pod.recreate_wg()
        await _until(collector, State.FRESH)
        for break_it, mend_it in ((pod.cut, pod.heal), (pod.link_down, pod.link_up)):
            break_it()
            await _until_dead(collector, clock, pod)
            assert samples(collector)["vpn_connection_status"] == 0
            mend_it()
            pod.get("/get", timeout=20)
            await _until(collector, State.FRESH)
        pod.remove_wg()
        assert await _state(collector) is State.ABSENT
        assert not any("peer" in name for name in samples(collector))
        pod.create_wg()
        await _until(collector, State.FRESH)
        assert samples(collector)["vpn_connection_status"] == 1


async def _until_dead(collector: WireguardCollector, clock: Hurried, pod: Pod) -> None:
    """A client asks in vain for two seconds, real ones; the rest of the time is put forward."""
    await collector.update()
    with pytest.raises(RuntimeError):
        pod.get("/get", timeout=2)
    pod.stir()
    for _ in range(6):
        clock.ahead += 4
        if await _state(collector) is State.DEAD:
            return
    raise AssertionError(collector.tunnel())


async def test_the_bytes_of_a_transfer_are_the_devices_own_and_never_fall(pod: Pod) -> None:
    """Ten megabytes through the proxy, before and after the device is made anew."""
    collector = InterfaceCollector(["wg0"], lambda path: read_in(pod, path), SystemClock())
    first, size = await _read(collector, pod), 10_000_000
    assert pod.get(f"/bytes/{size}", timeout=20).startswith(f"200 {size} ")
    moved = await _read(collector, pod) - first
    assert collector.status().transferred_bytes == moved
    assert size < moved < 1.1 * size
    pod.recreate_wg()
    pod.get(f"/bytes/{2 * size}", timeout=20)
    anew = await _read(collector, pod)
    assert collector.status().transferred_bytes == moved + anew
    assert anew > 2 * size
    print(f"{3 * size} bytes of body, {collector.status().transferred_bytes} bytes of the devices")


async def _read(collector: InterfaceCollector, pod: Pod) -> int:
    """Have the collector read, at a moment at which no packet goes; the device's own bytes then."""
    while True:
        before = _device_bytes(pod)
        await collector.update()
        if before == _device_bytes(pod):
            return before


def _device_bytes(pod: Pod) -> int:
    statistics = "/sys/class/net/wg0/statistics"
    return sum(int(pod.read(f"{statistics}/{way}_bytes")) for way in ("rx", "tx"))


async def test_every_source_tells_the_same_and_is_taken_in_its_turn(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket and the command really; the kernel's answer is built, as there is no such module here."""
    told = await _told(pod)
    buffer = bytearray(1 << 16)
    while True:  # a packet may come between two readings
        size = await command.run(*wg_in(pod), "show", "wg0", "dump", into=buffer)
        dumped = wireguard.parse_dump(memoryview(buffer)[:size])
        before, told = told, await _told(pod)
        if before == told:
            break
    assert dumped == told
    asks = sources("wg0", "/nonexistent", wg_in(pod))
    collector = WireguardCollector("wg0", lambda path: read_in(pod, path), asks, SystemClock())

    async def source() -> str:
        await collector.update()
        status = collector.status()
        assert status
        assert [peer.public_key for peer in status.peers] in ([], [peer.public_key for peer in told.peers])
        return status.source

    assert await source() == "command"
    monkeypatch.setattr(genetlink, "ask", _kernel(told))
    assert await source() == "netlink"
    monkeypatch.undo()
    asks["command"] = sources("wg0", "/nonexistent", ("/nonexistent/wg",))["command"]
    assert await source() == "device"
    asks["uapi"] = sources("wg0", str(pod.uapi.parent))["uapi"]
    assert await source() == "uapi"


async def _told(pod: Pod) -> wireguard.Device:
    buffer = bytearray(1 << 16)
    size = await uapi.get(str(pod.uapi), buffer)
    return wireguard.parse_uapi(memoryview(buffer)[:size])


def _kernel(device: wireguard.Device) -> Callable[[bytes, bytearray], int]:
    def ask(request: bytes, into: bytearray) -> int:
        answer = family_answer() if b"wireguard\0" in request else device_answer(device)
        into[: len(answer)] = answer
        return len(answer)

    return ask


async def test_a_reading_costs_next_to_nothing(pod: Pod) -> None:
    """No child process, no file left open."""
    collector = collector_on(pod)
    await collector.update()
    files, children = list(Path("/proc/self/fd").iterdir()), resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.process_time()
    for _ in range(100):
        await collector.update()
    print(f"{(time.process_time() - start) * 10:.2f} ms of processor per reading by the socket")
    assert len(list(Path("/proc/self/fd").iterdir())) == len(files)
    assert resource.getrusage(resource.RUSAGE_CHILDREN) == children
