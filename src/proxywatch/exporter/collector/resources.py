"""What the proxy uses and what is left: its own processes, its pod, the host.

The processes are Dante's, as the collector `children` knows them, and those of a WireGuard in user space. The
pod is the control group that Dante runs in: the pod's where it can be seen from here, else the container's or
the unit's. From a sidecar, whose own group is another, it cannot be seen unless the host's /sys/fs/cgroup is
mounted and `resources.cgroup` names the pod's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec

from proxywatch.clock import Clock
from proxywatch.errors import NoData, ProxywatchError, SourceError
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.parse import cgroup
from proxywatch.source import file, processes, procfs
from proxywatch.source.processes import Host, Usage

PROCESS_CPU = metric.counter(
    "proxy_process_cpu_seconds_total",
    "User and system CPU time of the program's processes, with that of their children that have ended. "
    "Absent while none is visible.",
    ["program"],
)
PROCESS_MEMORY = metric.gauge(
    "proxy_process_resident_memory_bytes",
    "Resident memory of the program's processes together; what they share counts in each. "
    "Absent while none is visible.",
    ["program"],
)
POD_CPU = metric.counter(
    "proxy_pod_cpu_seconds_total",
    "CPU time of the control group that Dante runs in: the pod, the container or the unit. "
    "Absent where it cannot be seen.",
)
POD_THROTTLED = metric.counter(
    "proxy_pod_cpu_throttled_seconds_total",
    "Time for which that group was kept from the CPU by its limit. Absent where it cannot be seen.",
)
POD_MEMORY = metric.gauge(
    "proxy_pod_memory_bytes",
    "Memory of that group, without the pages of files that the kernel can drop, as `kubectl top` has it. "
    "Absent where it cannot be seen.",
)
POD_LIMIT = metric.gauge(
    "proxy_pod_memory_limit_bytes",
    "The most memory that the group may use. Absent where there is no limit or it cannot be seen.",
)
AVAILABLE = metric.gauge(
    "proxy_host_memory_available_bytes", "Memory of the host that can be had without swapping."
)
IDLE = metric.counter("proxy_host_cpu_idle_seconds_total", "Time that the host's CPUs were idle, together.")
CPUS = metric.gauge("proxy_host_cpus", "CPUs of the host.")

_ROOT = "/sys/fs/cgroup"
_FIRST_SEARCH, _LONGEST_SEARCH = 5.0, 320.0
_SHARE = "Share the pid namespace with Dante (`shareProcessNamespace: true` in a pod), or start it."
_MOUNT = "Run in Dante's container, or mount the host's /sys/fs/cgroup and name the pod's `resources.cgroup`."


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """CPU and memory of the proxy's processes, of its pod, and what the host has left.

    Attributes:
        enabled: Whether to read them.
        wireguard: What the process of a WireGuard in user space may be called.
        cgroup: The control group that counts as the pod, as /proc/PID/cgroup has it; empty for Dante's.
    """

    enabled: bool = True
    wireguard: tuple[str, ...] = ("wireguard-go", "boringtun-cli", "boringtun")
    cgroup: str = ""


class Pod(msgspec.Struct, frozen=True):
    """A control group's use.

    Attributes:
        cpu_seconds: Of all its processes.
        throttled_seconds: Kept from the CPU.
        memory_bytes: Without the pages of files that can be dropped.
        memory_limit_bytes: None without a limit.
    """

    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None


class Program(msgspec.Struct, frozen=True):
    """What the processes of a program use together."""

    processes: int
    cpu_seconds: float
    resident_bytes: int


class Status(msgspec.Struct, frozen=True):
    """The last look.

    Attributes:
        programs: By name; those that were seen.
        pod: The control group that Dante runs in.
        host_available_bytes: Memory.
        host_cpus: How many.
    """

    programs: dict[str, Program]
    pod: Pod
    host_available_bytes: int
    host_cpus: int


class Named:
    """The processes of some names; all of the host's are looked through, less and less often."""

    def __init__(self, names: Sequence[str], clock: Clock) -> None:
        self._names = names
        self._clock = clock
        self._pids: frozenset[int] = frozenset()
        self._patience = _FIRST_SEARCH
        self._next = clock.monotonic() + _FIRST_SEARCH / 2  # not at the start, when Dante is being sought

    async def pids(self) -> frozenset[int]:
        """As known, or as found now if one of those has gone or it is time to look again."""
        alive = frozenset(pid for pid in self._pids if procfs.name(pid) in self._names)
        if self._names and (alive != self._pids or self._clock.monotonic() >= self._next):
            alive = frozenset(process.pid for process in await processes.named(self._names))
            self._patience = min(2 * self._patience, _LONGEST_SEARCH)
            self._next = self._clock.monotonic() + self._patience
        self._pids = alive
        return alive


class Rising:
    """CPU seconds of a changing set of processes, as a counter: when their sum falls, it stands still."""

    def __init__(self) -> None:
        self.total = 0.0
        self._last = 0.0

    def read(self, value: float) -> float:
        """Take a reading; the total so far."""
        self.total += max(0.0, value - self._last)
        self._last = value
        return self.total


class ResourcesCollector:
    """A reading collector."""

    name = "resources"
    timeout = 5.0

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        dante: Callable[[], frozenset[int] | None],
        read: Callable[[str], bytes] = file.read,
    ) -> None:
        """Take the sources.

        Args:
            settings: Names, and the group.
            clock: For not seeking too often.
            dante: Dante's processes; None while they are being sought.
            read: The content of a file below /proc or /sys; SourceError when it cannot.
        """
        self._settings = settings
        self._clock = clock
        self._dante = dante
        self._wireguard = Named(settings.wireguard, clock)
        self._read = read
        self._cpu: dict[str, Rising] = {}
        self._status: Status | None = None
        self._host: Host | None = None

    def describe(self) -> Sequence[Family]:
        """Programs, pod, host."""
        programs = (PROCESS_CPU, PROCESS_MEMORY)
        return (*programs, POD_CPU, POD_THROTTLED, POD_MEMORY, POD_LIMIT, AVAILABLE, IDLE, CPUS)

    async def update(self) -> None:
        """Read all three.

        Raises:
            NoData: No process of Dante is visible; what else was seen is published all the same.
            SourceError: /proc cannot be read.
            ParseError: A control group's file does not follow its format.
        """
        dante = await self._known()
        pids = {"dante": dante, "wireguard": await self._wireguard.pids()}
        used = {name: (len(those), await processes.usage(those)) for name, those in pids.items()}
        self._host = processes.host()
        self._status = Status(
            {name: self._program(name, count, usage) for name, (count, usage) in used.items() if usage},
            self._pod(min(dante, default=None)),
            self._host.available,
            self._host.processors,
        )
        if "dante" not in self._status.programs:
            raise NoData("no process of Dante is visible")

    async def _known(self) -> frozenset[int]:
        """Dante's processes, once it was looked for; a second is waited for that."""
        for _ in range(20):
            if (pids := self._dante()) is not None:
                return pids
            await self._clock.sleep_until(self._clock.monotonic() + 0.05)
        return frozenset()

    def _program(self, name: str, count: int, usage: Usage) -> Program:
        rising = self._cpu.setdefault(name, Rising())
        return Program(count, rising.read(usage.cpu), usage.resident)

    def _pod(self, pid: int | None) -> Pod:
        if pid is None and not self._settings.cgroup:
            return Pod()
        try:
            ours = cgroup.groups(self._read("/proc/self/cgroup"))
            groups = cgroup.groups(self._read(f"/proc/{pid}/cgroup")) if pid else ours
        except SourceError:  # it has ended
            return Pod()
        if self._settings.cgroup:
            groups = dict.fromkeys(groups, self._settings.cgroup)
        if "memory" in groups:
            return version_1(groups, self._read, ours=groups == ours)
        return version_2(groups, self._read)

    def collect(self) -> Iterator[Metric]:
        """The last look."""
        status = self._status
        programs = status.programs if status else {}
        pod = status.pod if status else Pod()
        yield PROCESS_CPU.values({name: program.cpu_seconds for name, program in programs.items()})
        yield PROCESS_MEMORY.values({name: program.resident_bytes for name, program in programs.items()})
        yield POD_CPU.value(pod.cpu_seconds)
        yield POD_THROTTLED.value(pod.throttled_seconds)
        yield POD_MEMORY.value(pod.memory_bytes)
        yield POD_LIMIT.value(pod.memory_limit_bytes)
        host = self._host
        yield AVAILABLE.value(host.available if host else None)
        yield IDLE.value(host.idle if host else None)
        yield CPUS.value(host.processors if host else None)

    async def examine(self) -> Sequence[Finding]:
        """Are the processes visible, and the pod?"""
        try:
            await self.update()
        except NoData as error:
            return [Finding.hint(str(error), _SHARE)]
        except ProxywatchError as error:
            return [Finding.fault(str(error), "Mount /proc and /sys as containers have them.")]
        assert self._status is not None  # noqa: S101 - an update that succeeds leaves one
        findings = [
            Finding.ok(f"{name}: {each.processes} processes, {each.resident_bytes / 1e6:.0f} MB")
            for name, each in self._status.programs.items()
        ]
        if self._status.pod.memory_bytes is None:
            findings.append(Finding.hint("the control group of Dante cannot be seen from here", _MOUNT))
        return findings

    def status(self) -> Status | None:
        """The last look; None before the first."""
        return self._status


def version_2(groups: Mapping[str, str], read: Callable[[str], bytes]) -> Pod:
    """What a group of the one hierarchy uses; nothing of what is not there, as in the root group."""
    folder = _ROOT + cgroup.pod(groups.get(cgroup.UNIFIED, "/")).rstrip("/")
    cpu = _statistics(read, f"{folder}/cpu.stat")
    return Pod(
        _seconds(cpu.get("usage_usec"), 1e6),
        _seconds(cpu.get("throttled_usec"), 1e6),
        _memory(read, folder, "memory.current", "inactive_file"),
        _limit(read, f"{folder}/memory.max"),
    )


def version_1(groups: Mapping[str, str], read: Callable[[str], bytes], *, ours: bool) -> Pod:
    """What a group in a hierarchy for each controller uses; a root group is the host, and no pod.

    Args:
        groups: By controller.
        read: Reads a file.
        ours: Whether we are in these groups; a container may then see them at the top, whatever their path.
    """
    folders = {name: _folder(name, cgroup.pod(path), read, ours=ours) for name, path in groups.items()}
    memory, cpu, account = (folders.get(name) for name in ("memory", "cpu", "cpuacct"))
    return Pod(
        _seconds(_number(read, f"{account}/cpuacct.usage") if account else None, 1e9),
        _seconds(_statistics(read, f"{cpu}/cpu.stat").get("throttled_time") if cpu else None, 1e9),
        _memory(read, memory, "memory.usage_in_bytes", "total_inactive_file") if memory else None,
        _limit(read, f"{memory}/memory.limit_in_bytes") if memory else None,
    )


def _folder(controller: str, path: str, read: Callable[[str], bytes], *, ours: bool) -> str | None:
    top = f"{_ROOT}/{controller}"
    for folder in (top + path.rstrip("/"), *((top,) if ours else ())):
        with suppress(SourceError):
            read(f"{folder}/notify_on_release")
            return None if _is_root(folder, read) else folder
    return None


def _is_root(folder: str, read: Callable[[str], bytes]) -> bool:
    try:
        read(f"{folder}/release_agent")  # only the root of a hierarchy has it
    except SourceError:
        return False
    return True


def _memory(read: Callable[[str], bytes], folder: str, name: str, droppable: str) -> int | None:
    used = _number(read, f"{folder}/{name}")
    if used is None:
        return None
    return max(0, used - _statistics(read, f"{folder}/memory.stat").get(droppable, 0))


def _number(read: Callable[[str], bytes], path: str) -> int | None:
    try:
        return cgroup.number(read(path))
    except SourceError:
        return None


def _limit(read: Callable[[str], bytes], path: str) -> int | None:
    try:
        return cgroup.limit(read(path))
    except SourceError:
        return None


def _statistics(read: Callable[[str], bytes], path: str) -> Mapping[str, int]:
    try:
        return cgroup.statistics(read(path))
    except SourceError:
        return {}


def _seconds(count: int | None, per_second: float) -> float | None:
    return None if count is None else count / per_second


def build(settings: Settings, clock: Clock, dante: Callable[[], frozenset[int] | None]) -> ResourcesCollector:
    """The collector on the real /proc and /sys."""
    return ResourcesCollector(settings, clock, dante)
