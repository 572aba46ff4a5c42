"""The faults. Each is a context: it has begun when the block does, and is over when that ends.

What a fault may hide from the exporter is declared beside it: `lossy`, lines of the log may be lost, so that
requests may go uncounted; `fragile`, so they are if the exporter ends meanwhile; `mute`, the faces may not
answer while it lasts; `ends`, the exporter ends in it.
Nothing is ever allowed to be counted twice.
"""

import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass

from faults.bed import FAKETIME, HEALTH, Bed
from testbed.namespace import child_of
from testbed.pod import NAMES, WEB

_MANY = 200
_BEHIND = 6  # probes whose endpoints could not be written down before the end, as while the disk is full
_CLOCK = 6  # Dante and the exporter see the step up to a second apart here


@dataclass(frozen=True)
class Fault:
    """One of them.

    Attributes:
        name: In the table.
        begin: The context.
        lossy, fragile, mute, ends: As above.
        strangers: Requests of our own probes that may pass for clients' in it.
        holds: What cannot be had twice at a time; faults with the same word exclude each other.
    """

    name: str
    begin: Callable[[Bed], AbstractContextManager[None]]
    lossy: bool
    fragile: bool
    mute: bool
    ends: bool
    strangers: int
    holds: str


FAULTS: dict[str, Fault] = {}


def fault(
    holds: str,
    *,
    lossy: bool = False,
    fragile: bool = False,
    mute: bool = False,
    ends: bool = False,
    strangers: int = 0,
) -> Callable[[Callable[[Bed], Iterator[None]]], None]:
    """Put a generator into the catalogue, under its name with spaces."""

    def add(function: Callable[[Bed], Iterator[None]]) -> None:
        name = function.__name__.replace("_", " ")
        FAULTS[name] = Fault(name, contextmanager(function), lossy, fragile, mute, ends, strangers, holds)

    return add


# --- Dante


@fault("dante")
def dante_stands_still(bed: Bed) -> Iterator[None]:
    """SIGSTOP to all of it."""
    bed.signal_dante(signal.SIGSTOP)
    yield
    bed.signal_dante(signal.SIGCONT)
    bed.wake(bed.dante)


@fault("dante")
def dante_is_killed(bed: Bed) -> Iterator[None]:
    """SIGKILL to all of it; a new one comes."""
    bed.signal_dante(signal.SIGKILL)
    yield
    bed.restart_dante()


@fault("dante")
def dante_is_terminated(bed: Bed) -> Iterator[None]:
    """SIGTERM to its mother, as a container's stop; a new one comes."""
    bed.dante.terminate()
    yield
    bed.restart_dante()


@fault("dante")
def a_child_of_dante_is_killed(bed: Bed) -> Iterator[None]:
    """Some process below the mother; Dante makes another."""
    bed.shell("pgrep -x danted | tail -1 | xargs -r kill -9")
    yield
    if not bed.dante_listens():
        bed.restart_dante()


# --- the log


@fault("log")
def the_log_is_rotated(bed: Bed) -> Iterator[None]:
    """Renamed; Dante opens a new one."""
    bed.rotate()
    yield


@fault("log")
def the_log_is_renamed_and_dante_told_late(bed: Bed) -> Iterator[None]:
    """It writes on into the old one for a while."""
    bed.rename_log()
    yield
    bed.shell(f"kill -HUP $(cat {bed.pod.directory}/danted.pid)")


@fault("log", lossy=True)
def the_log_is_cut(bed: Bed) -> Iterator[None]:
    """As by `copytruncate` without the copy."""
    bed.shell(f": > {bed.log}")
    yield


@fault("log", fragile=True)
def the_log_is_removed(bed: Bed) -> Iterator[None]:
    """Dante writes on into a file without a name, until it is told."""
    bed.shell(f"rm -f {bed.log}")
    yield
    bed.shell(f"kill -HUP $(cat {bed.pod.directory}/danted.pid)")


@fault("log", lossy=True)
def the_disk_is_full(bed: Bed) -> Iterator[None]:
    """Under log and checkpoint; then there is room again."""
    bed.shell(f"cat /dev/zero > {bed.disk}/filler 2>/dev/null")
    yield
    bed.shell(f"rm -f {bed.disk}/filler")


# --- the network


@fault("relay")
def the_tunnel_is_cut(bed: Bed) -> Iterator[None]:
    """No datagram passes."""
    bed.pod.cut()
    yield
    bed.pod.heal()


@fault("relay")
def the_tunnel_is_slow(bed: Bed) -> Iterator[None]:
    """400 ms each way, give or take 100."""
    bed.pod.delay(400, jitter=100)
    yield
    bed.pod.delay(0)


@fault("relay")
def the_tunnel_loses_a_third(bed: Bed) -> Iterator[None]:
    """Each way."""
    bed.pod.loss(33)
    yield
    bed.pod.loss(0)


@fault("wire")
def the_wire_is_throttled(bed: Bed) -> Iterator[None]:
    """To a quarter of a megabit per second."""
    bed.pod.rate(0.25)
    yield
    bed.pod.rate(None)


@fault("wire")
def the_wire_is_down(bed: Bed) -> Iterator[None]:
    """The pod's own, below the tunnel."""
    bed.pod.link_down()
    yield
    bed.pod.link_up()


@fault("wire")
def wg0_is_gone(bed: Bed) -> Iterator[None]:
    """And comes back as another device of the same name."""
    bed.pod.remove_wg()
    yield
    bed.pod.create_wg()


@fault("names")
def names_do_not_resolve(bed: Bed) -> Iterator[None]:
    """The name server is not reached."""
    bed.shell(f"ip route add blackhole {NAMES}/32")
    yield
    bed.shell(f"ip route del blackhole {NAMES}/32")


@fault("target")
def the_target_is_gone(bed: Bed) -> Iterator[None]:
    """Its address does not answer."""
    bed.pod.exec("far", "ip", "address", "del", f"{WEB}/32", "dev", "lo")
    yield
    bed.pod.exec("far", "ip", "address", "add", f"{WEB}/32", "dev", "lo")


# --- the machine


if FAKETIME.exists():

    @fault("clock", strangers=_CLOCK)
    def the_clock_steps_forward(bed: Bed) -> Iterator[None]:
        """By an hour, and back."""
        bed.set_clock(3600)
        yield
        bed.set_clock(0)

    @fault("clock", strangers=_CLOCK)
    def the_clock_steps_back(bed: Bed) -> Iterator[None]:
        """By an hour, and forward again."""
        bed.set_clock(-3600)
        yield
        bed.set_clock(0)


@fault("exporter", mute=True)
def descriptors_run_out(bed: Bed) -> Iterator[None]:
    """The exporter may open no more than it has."""
    pid = bed.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (bed.usage()["fds"], before[1]))
    yield
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@fault("exporter", mute=True)
def memory_runs_out(bed: Bed) -> Iterator[None]:
    """The exporter may map no more than it has."""
    pid = bed.pid
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, before[1]))
    yield
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, before)


@fault("exporter", mute=True)
def the_exporter_stands_still(bed: Bed) -> Iterator[None]:
    """SIGSTOP, as a frozen container."""
    bed.exporter.send_signal(signal.SIGSTOP)
    yield
    bed.wake(bed.exporter)


@fault("exporter", ends=True, mute=True, strangers=_BEHIND)
def the_exporter_is_killed(bed: Bed) -> Iterator[None]:
    """SIGKILL; a new one goes on from the checkpoint."""
    bed.end_exporter(signal.SIGKILL)
    yield
    bed.start_exporter()


@fault("exporter", ends=True, mute=True, strangers=_BEHIND)
def the_exporter_is_restarted(bed: Bed) -> Iterator[None]:
    """SIGTERM; a new one goes on from the checkpoint."""
    bed.end_exporter(signal.SIGTERM)
    yield
    bed.start_exporter()


@fault("exporter")
def settings_are_reloaded_often(bed: Bed) -> Iterator[None]:
    """Five times, one of them with a file that is refused."""
    good = bed.conf.read_text()
    for index in range(5):
        bed.conf.write_text("latency: {intervall: 1s}\n" if index == 2 else good)
        bed.ask("/-/reload", method="POST")
    yield


@fault("crowd")
def silent_clients_crowd_both_ports(_: Bed) -> Iterator[None]:
    """Two hundred that connect to each and say nothing, or nonsense."""
    with ExitStack() as stack:
        for index in range(_MANY):
            for port in (9090, 9999):
                with suppress(OSError):  # the exporter may have been ended by another fault
                    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                    if index % 2:
                        client.sendall(b"\x16\x03\x01 nonsense \r\n")
        yield


def alive(bed: Bed) -> bool:
    """Whether the exporter is there, and answers on both ports."""
    return (
        child_of(bed.exporter.pid) != 0
        and bed.ask("/livez", HEALTH).status == 200
        and bed.ask("/metrics").status == 200
    )
