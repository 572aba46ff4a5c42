"""The whole course of the tunnel's states, in real time, on real tunnels: some eleven minutes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import pytest

from support.tunnels import collector_on
from testbed.pod import Pod, missing

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"a pod needs {missing()}"),
]
_INTERVAL = 5.0
_IDLE = 600.0


class Course:
    """Reads one tunnel every five seconds, as the daemon does, and keeps every change of state."""

    def __init__(self, name: str, pod: Pod) -> None:
        self.name = name
        self.pod = pod
        self.changes: list[tuple[float, str]] = []
        self._collector = collector_on(pod)
        self._start = time.monotonic()

    async def follow(self) -> None:
        """Read until cancelled."""
        deadline = time.monotonic()
        while True:
            await self._collector.update()
            tunnel = self._collector.tunnel()
            assert tunnel
            if not self.changes or self.changes[-1][1] != tunnel.state.value:
                at = time.monotonic() - self._start
                self.changes.append((at, tunnel.state.value))
                print(f"{at:7.1f} s  {self.name:10} {tunnel.state.value:14} {tunnel.sentence}", flush=True)
            deadline += _INTERVAL
            await asyncio.sleep(max(0.0, deadline - time.monotonic()))

    @property
    def states(self) -> list[str]:
        """Every state that it was in, in order."""
        return [state for _, state in self.changes]

    async def until(self, state: str, seconds: float) -> float:
        """Wait for a state; returns how long it took."""
        start = time.monotonic()
        while self.changes[-1][1] != state:
            assert time.monotonic() - start < seconds, (
                f"{self.name} not {state} in {seconds} s: {self.changes}"
            )
            await asyncio.sleep(0.1)
        return time.monotonic() - start


async def test_the_course_of_every_state() -> None:
    """Each tunnel passes the states that it should, in that order, and no others."""
    with ExitStack() as stack:

        def course(name: str, **options: bool | int) -> Course:
            return Course(name, stack.enter_context(Pod(**options)))  # type: ignore[arg-type]

        never = course("never", connected=False, dante=False)
        courses = {
            _keepalive: course("keepalive", keepalive=5, dante=False),
            _silent: course("silent", keepalive=0),
            _active: course("active"),
            _quiet_cut: course("quiet cut", dante=False),
            _never: never,
        }
        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(each.follow()) for each in courses.values()]
            await asyncio.sleep(1)
            async with asyncio.TaskGroup() as acts:
                for act, each in courses.items():
                    acts.create_task(act(each))
            for follower in followers:
                follower.cancel()


async def _keepalive(course: Course) -> None:
    """Idle with keepalive for ten minutes: not one alarm."""
    await asyncio.sleep(_IDLE)
    assert course.states == ["fresh"]


async def _silent(course: Course) -> None:
    """Idle without keepalive for ten minutes: idle after three, not one alarm, and it works at once."""
    await asyncio.sleep(_IDLE)
    assert course.states == ["fresh", "idle"]
    course.pod.get("/get")
    await course.until("fresh", 10)
    assert course.states == ["fresh", "idle", "fresh"]


async def _active(course: Course) -> None:
    """Clients all the time; the way is cut, the wire goes down, the device is made anew, then removed."""
    pod = course.pod
    async with _clients(pod):
        await asyncio.sleep(30)
        assert course.states == ["fresh"]
        await _fault(course, "relay cut", pod.cut, pod.heal)
        await asyncio.sleep(20)
        await _fault(course, "wire down", pod.link_down, pod.link_up)
        pod.recreate_wg()
        await asyncio.sleep(10)
        assert course.changes[-1][1] == "fresh"
        pod.remove_wg()
        await course.until("absent", 2 * _INTERVAL)
        pod.create_wg()
        await course.until("fresh", 3 * _INTERVAL)


async def _fault(
    course: Course, what: str, break_it: Callable[[], None], mend_it: Callable[[], None]
) -> None:
    break_it()
    seen = await course.until("dead", 30)
    await asyncio.sleep(30)
    assert course.changes[-1][1] == "dead"
    mend_it()
    healed = await course.until("fresh", 30)
    print(
        f"{what} while clients are active: seen after {seen:.1f} s, healed after {healed:.1f} s", flush=True
    )


async def _quiet_cut(course: Course) -> None:
    """Nobody speaks when the way is cut: the key grows old, then WireGuard would give up."""
    course.pod.cut()
    overdue = await course.until("rekey_overdue", 230)
    dead = await course.until("dead", 110)
    course.pod.heal()
    healed = await course.until("fresh", 60)
    print(
        f"quiet cut: overdue after {overdue:.0f} s, dead {dead:.0f} s later, healed in {healed:.0f} s",
        flush=True,
    )
    assert course.states == ["fresh", "rekey_overdue", "dead", "fresh"]


async def _never(course: Course) -> None:
    """No handshake was ever made, for as long as the other end is out of reach."""
    await asyncio.sleep(60)
    assert course.states == ["never"]
    course.pod.heal()
    await course.until("fresh", 30)


@contextlib.asynccontextmanager
async def _clients(pod: Pod) -> AsyncIterator[None]:
    """A client that asks for a page every second and does not mind when it gets none."""

    async def ask() -> None:
        while True:
            with contextlib.suppress(RuntimeError):
                await asyncio.to_thread(pod.get, "/get", timeout=4)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(ask())
        yield
        task.cancel()
