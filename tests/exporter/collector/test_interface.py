"""The counters of the VPN's devices."""

from contextlib import suppress

import pytest

from proxywatch.errors import NoData, SourceError
from proxywatch.exporter.collector.interface import InterfaceCollector, Settings, build
from support.fakes import FakeClock
from support.metrics import samples


class Machine:
    """/proc and /sys of a machine whose devices come and go: name to (index, received, transmitted)."""

    def __init__(self, **devices: tuple[int, int, int]) -> None:
        self.devices = devices

    def read(self, path: str) -> bytes:
        if path == "/proc/self/net/dev":
            rows = [
                f"{name}: {rx} 1 2 3 0 0 0 0 {tx} 4 5 6 0 0 0 0" for name, (_, rx, tx) in self.devices.items()
            ]
            return "\n".join(["title", "title", *rows]).encode()
        name = path.split("/")[4]
        if name not in self.devices:
            raise SourceError(f"{path}: No such file or directory")
        return f"{self.devices[name][0]}\n".encode()


async def test_the_devices_own_counters_are_published_raw() -> None:
    """All eight, of the device with exactly that name."""
    machine = Machine(wg0=(5, 4897955205, 53627037), wg01=(6, 1, 1))
    collector = InterfaceCollector(["wg0"], machine.read, FakeClock())
    await collector.update()
    assert samples(collector) == {
        "proxy_network_orphaned": 0,
        'proxy_network_receive_bytes_total{device="wg0"}': 4897955205,
        'proxy_network_receive_packets_total{device="wg0"}': 1,
        'proxy_network_receive_errors_total{device="wg0"}': 2,
        'proxy_network_receive_drops_total{device="wg0"}': 3,
        'proxy_network_transmit_bytes_total{device="wg0"}': 53627037,
        'proxy_network_transmit_packets_total{device="wg0"}': 4,
        'proxy_network_transmit_errors_total{device="wg0"}': 5,
        'proxy_network_transmit_drops_total{device="wg0"}': 6,
    }


async def test_the_sum_counts_on_over_a_re_creation() -> None:
    """Told by the index, also when the new counters have overtaken the old."""
    machine = Machine(wg0=(5, 1000, 100))
    collector = InterfaceCollector(["wg0"], machine.read, FakeClock())
    await collector.update()
    machine.devices["wg0"] = (5, 1500, 150)
    await collector.update()
    machine.devices["wg0"] = (6, 9000, 900)
    await collector.update()
    assert collector.status().transferred_bytes == 550 + 9900


async def test_a_missing_device_is_no_data_and_its_sum_stays() -> None:
    """Its own counters vanish; when it is back, all it shows is new."""
    machine = Machine(wg0=(5, 1000, 100), eth0=(2, 1, 1))
    collector = InterfaceCollector(["wg0"], machine.read, FakeClock())
    await collector.update()
    machine.devices["wg0"] = (5, 1500, 100)
    await collector.update()
    del machine.devices["wg0"]
    with pytest.raises(NoData, match=r"no device wg0 \(there are: eth0\)"):
        await collector.update()
    assert samples(collector) == {"proxy_network_orphaned": 0}
    assert (collector.transferred(), collector.was_seen()) == (500, True)
    machine.devices["wg0"] = (7, 20, 10)
    await collector.update()
    assert collector.transferred() == 530


async def test_a_device_that_appears_after_the_start_counts_in_full() -> None:
    """What it moved before our first sight of it, it moved since we started."""
    machine = Machine()
    collector = InterfaceCollector(["wg0"], machine.read, FakeClock())
    assert collector.transferred() is None
    with pytest.raises(NoData):
        await collector.update()
    assert (collector.transferred(), collector.was_seen()) == (0, False)
    machine.devices["wg0"] = (7, 20, 10)
    await collector.update()
    assert (collector.transferred(), collector.was_seen()) == (30, True)


async def test_several_devices_are_summed_and_told_apart() -> None:
    """One that is missing does not hide the other."""
    machine = Machine(wg0=(5, 100, 0), wg1=(6, 1000, 0))
    collector = InterfaceCollector(["wg0", "wg1"], machine.read, FakeClock())
    await collector.update()
    machine.devices["wg0"] = (5, 110, 0)
    machine.devices["wg1"] = (6, 1020, 0)
    await collector.update()
    assert collector.status().transferred_bytes == 30
    del machine.devices["wg1"]
    with pytest.raises(NoData, match="no device wg1"):
        await collector.update()
    assert samples(collector)['proxy_network_receive_bytes_total{device="wg0"}'] == 110


async def test_without_sys_falling_counters_tell_a_re_creation() -> None:
    """Some sandboxes have none."""
    machine = Machine(wg0=(5, 1000, 100))

    def read(path: str) -> bytes:
        if path.startswith("/sys"):
            raise SourceError(f"{path}: No such file or directory")
        return machine.read(path)

    collector = InterfaceCollector(["wg0"], read, FakeClock())
    await collector.update()
    machine.devices["wg0"] = (6, 50, 5)
    await collector.update()
    assert collector.status().transferred_bytes == 55


async def test_examine_names_what_is_there_when_the_device_is_not() -> None:
    """So that a wrong name is seen at once."""
    missing = await InterfaceCollector(["wg9"], Machine(wg0=(5, 1, 1)).read, FakeClock()).examine()
    there = await InterfaceCollector(["wg0"], Machine(wg0=(5, 1, 2)).read, FakeClock()).examine()
    assert [(finding.level, "wg0" in finding.text) for finding in missing] == [("fault", True)]
    assert [(finding.level, finding.text) for finding in there] == [
        ("ok", "device wg0 has moved 1 bytes in, 2 out")
    ]


async def test_the_real_machine_has_a_loopback() -> None:
    """On the real /proc and /sys."""
    collector = build(Settings(name=("lo",)), FakeClock(), lambda _: None)
    await collector.update()
    assert collector.status().present == ["lo"]


async def look(collector: InterfaceCollector) -> None:
    with suppress(NoData):
        await collector.update()


async def test_a_namespace_without_a_way_out_is_orphaned() -> None:
    """The container whose network this was is gone: published, and the daemon ends where that is wanted."""
    machine = Machine(lo=(1, 1, 1), eth0=(2, 1, 1), wg0=(5, 1, 1))
    clock, failures = FakeClock(), list[str]()
    collector = InterfaceCollector(["wg0"], machine.read, clock, failures.append)
    await look(collector)
    assert samples(collector)["proxy_network_orphaned"] == 0
    del machine.devices["eth0"]
    await look(collector)
    await clock.advance(29)
    await look(collector)
    assert not collector.status().orphaned
    await clock.advance(1)
    await look(collector)
    await look(collector)
    assert collector.status().orphaned
    assert samples(collector)["proxy_network_orphaned"] == 1
    assert failures == ["the container whose network this is was replaced"]


async def test_a_device_that_is_made_anew_in_time_is_no_orphaning() -> None:
    """As when the network of a host is configured again."""
    machine = Machine(lo=(1, 1, 1), eth0=(2, 1, 1))
    clock, failures = FakeClock(), list[str]()
    collector = InterfaceCollector(["wg0"], machine.read, clock, failures.append)
    for devices, seconds in (({}, 20), ({"eth1": (7, 1, 1)}, 20), ({}, 20), ({"eth2": (8, 1, 1)}, 100)):
        await look(collector)
        machine.devices = {"lo": (1, 1, 1), **devices}
        await look(collector)
        await clock.advance(seconds)
    await look(collector)
    assert failures == []


async def test_a_namespace_that_never_had_a_way_out_is_none_either() -> None:
    """Tests and demos live in such."""
    machine = Machine(lo=(1, 1, 1))
    clock, failures = FakeClock(), list[str]()
    collector = InterfaceCollector(["wg0"], machine.read, clock, failures.append)
    await look(collector)
    await clock.advance(1000)
    await look(collector)
    assert failures == []
    assert "proxy_network_orphaned" not in samples(collector)
