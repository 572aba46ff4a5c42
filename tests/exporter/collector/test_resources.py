"""What the proxy uses and what is left: real processes, and control groups as kernels show them."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxywatch.errors import NoData, SourceError
from proxywatch.exporter.collector.resources import Named, ResourcesCollector, Rising, Settings
from support.fakes import FakeClock, settle
from support.metrics import samples
from support.processes import sleeping
from testbed.danted import danted

V2 = {
    "cpu.stat": "usage_usec 12500000\nuser_usec 1\nnr_throttled 3\nthrottled_usec 250000\n",
    "memory.current": "50000000\n",
    "memory.max": "134217728\n",
    "memory.stat": "anon 1\ninactive_file 20000000\n",
}
OF_POD = {
    "proxy_pod_cpu_seconds_total": 12.5,
    "proxy_pod_cpu_throttled_seconds_total": 0.25,
    "proxy_pod_memory_bytes": 30_000_000,
    "proxy_pod_memory_limit_bytes": 134_217_728,
}


class Machine:
    """The files of /proc and /sys that the collector reads, and Dante's processes."""

    def __init__(self, dante: frozenset[int] | None = frozenset()) -> None:
        self.dante = dante
        self.clock = FakeClock()
        self.files: dict[str, str] = {}

    def member(self, pid: int | str, content: str) -> None:
        self.files[f"/proc/{pid}/cgroup"] = content

    def group(self, folder: str, **files: str) -> None:
        self.files |= {f"/sys/fs/cgroup{folder}/{name}": content for name, content in files.items()}

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise SourceError(f"{path}: No such file or directory")
        return self.files[path].encode()

    def collector(self, **settings: str) -> ResourcesCollector:
        chosen = Settings(wireguard=(), **settings)  # type: ignore[arg-type]
        return ResourcesCollector(chosen, self.clock, lambda: self.dante, self.read)


async def pods(machine: Machine, **settings: str) -> dict[str, float]:
    """The series of the pod after one update."""
    collector = machine.collector(**settings)
    await collector.update()
    return {name: value for name, value in samples(collector).items() if "_pod_" in name}


@pytest.fixture
def machine() -> Machine:
    """One where Dante is the test itself."""
    return Machine(frozenset({os.getpid()}))


async def test_a_pod_of_version_2(machine: Machine) -> None:
    """The pod's group, not the container's in it; files in memory that can be dropped do not count."""
    pod = "/kubepods/pod0f6ab1c2-77aa-4a27-9ad8-5be1a2f0c8de"
    machine.member(os.getpid(), f"0::{pod}/6b1f\n")
    machine.member("self", "0::/elsewhere\n")
    machine.group(pod, **V2)
    assert await pods(machine) == OF_POD


async def test_no_limit_is_no_series(machine: Machine) -> None:
    """And no figure that could be taken for one."""
    machine.member(os.getpid(), "0::/\n")
    machine.member("self", "0::/\n")
    machine.group("", **(V2 | {"memory.max": "max\n"}))
    assert await pods(machine) == {n: v for n, v in OF_POD.items() if "limit" not in n}


async def test_version_1(machine: Machine) -> None:
    """A hierarchy for each controller; numbers in nanoseconds."""
    machine.member(os.getpid(), "4:memory:/docker/6b\n3:cpu,cpuacct:/docker/6b\n0::/\n")
    machine.member("self", "0::/\n")
    machine.group(
        "/memory/docker/6b",
        **{
            "notify_on_release": "0\n",
            "memory.usage_in_bytes": "50000000\n",
            "memory.limit_in_bytes": "134217728\n",
            "memory.stat": "inactive_file 1\ntotal_inactive_file 20000000\n",
        },
    )
    machine.group("/cpu/docker/6b", **{"notify_on_release": "0\n", "cpu.stat": "throttled_time 250000000\n"})
    machine.group("/cpuacct/docker/6b", **{"notify_on_release": "0\n", "cpuacct.usage": "12500000000\n"})
    assert await pods(machine) == OF_POD


async def test_a_container_of_version_1_sees_its_own_group_at_the_top(machine: Machine) -> None:
    """Whatever its path; but what is at the top of the host is the host's."""
    files = {"notify_on_release": "0\n", "memory.usage_in_bytes": "7\n", "memory.stat": ""}
    for member in (os.getpid(), "self"):
        machine.member(member, "4:memory:/docker/6b\n")
    machine.group("/memory", **files)
    assert await pods(machine) == {"proxy_pod_memory_bytes": 7}
    machine.group("/memory", release_agent="")
    assert await pods(machine) == {}


async def test_another_containers_group_cannot_be_seen(machine: Machine) -> None:
    """A sidecar's own is not Dante's: absent, and `check` says what helps."""
    machine.member(os.getpid(), "0::/../6b1f\n")
    machine.member("self", "0::/\n")
    machine.group("", **V2)
    assert await pods(machine) == {}
    findings = await machine.collector().examine()
    assert [finding.level for finding in findings] == ["ok", "hint"]
    assert "resources.cgroup" in findings[-1].fix


async def test_a_group_that_is_named(machine: Machine) -> None:
    """Counts as the pod, wherever Dante is."""
    machine.dante = frozenset()
    machine.member("self", "0::/\n")
    machine.group("/kubepods/pod7", **V2)
    collector = machine.collector(cgroup="/kubepods/pod7")
    with pytest.raises(NoData, match="no process of Dante"):
        await collector.update()
    assert OF_POD.items() <= samples(collector).items()
    assert samples(collector)["proxy_host_memory_available_bytes"] > 1e6


async def test_the_processes_of_a_real_dante(tmp_path: Path) -> None:
    """Mother and children together, with what the kernel counts for them."""
    with danted(tmp_path) as server:
        machine = Machine(frozenset(server.pids()))
        collector = machine.collector()
        await collector.update()
        seen = samples(collector)
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.pids())
    resident = seen['proxy_process_resident_memory_bytes{program="dante"}']
    assert resident == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.1)
    assert 'proxy_process_cpu_seconds_total{program="dante"}' in seen


async def test_dante_is_waited_for(machine: Machine) -> None:
    """It is being looked for when the exporter has just started."""
    machine.dante = None
    machine.member("self", "0::/\n")
    collector = machine.collector()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(collector.update())
        await settle()
        machine.dante = frozenset({os.getpid()})
        await machine.clock.advance(0.05)
    assert task.exception() is None
    status = collector.status()
    assert status is not None
    assert status.programs["dante"].processes == 1


async def test_a_wireguard_in_user_space_is_found_by_name() -> None:
    """All processes are looked through at first and when one has gone, not at every update."""
    clock = FakeClock()
    named = Named(["sleep"], clock)
    with sleeping() as first:
        assert await named.pids() == set()
        await clock.advance(3)
        assert first.pid in await named.pids()
        with sleeping() as second:
            assert second.pid not in await named.pids()
            await clock.advance(10)
            assert second.pid in await named.pids()
    with sleeping() as third:
        assert third.pid in await named.pids()
        assert first.pid not in await named.pids()


async def test_time_of_an_ended_process_is_not_lost() -> None:
    """A Dante that waits for its children is given theirs; a counter never falls."""
    busy = "import time; begin = time.process_time()\nwhile time.process_time() < begin + 0.1: pass"
    machine = Machine(frozenset({os.getpid()}))
    machine.member("self", "0::/\n")
    collector = machine.collector()
    await collector.update()
    name = 'proxy_process_cpu_seconds_total{program="dante"}'
    before = samples(collector)[name]
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", busy], check=True)
    await collector.update()
    assert samples(collector)[name] >= before + 0.05  # both are in ticks of 10 ms
    rising = Rising()
    assert [rising.read(value) for value in (5, 7, 1, 2)] == [5, 7, 7, 8]
