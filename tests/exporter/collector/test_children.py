"""The collector of Dante's processes, on real servers started in the ways that are in use."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from proxywatch.dante.title import ENOUGH
from proxywatch.errors import NoData, SourceError
from proxywatch.exporter.collector import children, sockets
from proxywatch.exporter.collector.children import ChildrenCollector, Settings, Unfound
from proxywatch.exporter.collector.sockets import SocketsCollector
from proxywatch.source import processes, procfs
from support.fakes import FakeClock
from support.metrics import samples
from testbed import socks
from testbed.danted import BINARY, Danted, danted
from testbed.target import holding

IDLE = {"monitor": 1, "negotiate": 1, "request": 16, "io": 1, "unknown": 0}


class Watch:
    """A children collector and the sockets collector that it asks, with a clock that the test moves."""

    def __init__(self, port: int, **settings: object) -> None:
        self.clock = FakeClock()
        self.sockets: SocketsCollector = sockets.build(sockets.Settings(port=port), FakeClock())
        self.children: ChildrenCollector = children.build(
            Settings(**settings),  # type: ignore[arg-type]
            self.clock,
            self.sockets.listening,
        )

    async def read(self) -> children.Status:
        with suppress(NoData):
            await self.sockets.update()
        await self.children.update()
        return self.children.status()

    async def until(self, reached: Callable[[children.Status], bool], apart: float = 0) -> children.Status:
        """Read until it is so, for ten seconds at most; the clock may move some seconds in between."""
        status = await self.read()
        for _ in range(1000):
            if reached(status):
                break
            await asyncio.sleep(0.01)
            await self.clock.advance(apart)
            status = await self.read()
        return status


def folder(directory: Path, name: str) -> Path:
    made = directory / name
    made.mkdir()
    return made


@contextmanager
def sessions(server: Danted, count: int) -> Iterator[None]:
    with holding() as site, ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socks.connect(server.port, ("127.0.0.1", site.port)))
        yield


async def test_an_idle_server(tmp_path: Path) -> None:
    """Its kinds of children and their slots; seventeen of them say nothing about connections."""
    with danted(tmp_path) as server:
        watch = Watch(server.port)
        status = await watch.until(lambda status: status.processes == IDLE)
        assert (status.server, status.processes, status.orphans) == (server.process.pid, IDLE, 0)
        assert status.slots == {
            "negotiate": {"used": 0, "free": 96},
            "request": {"used": 0, "free": 16},
            "io": {"used": 0, "free": 32},
        }
        assert watch.children.processes() == 17
        assert watch.children.slots() == 0


async def test_slots_of_forty_sessions(tmp_path: Path) -> None:
    """They fill one io child and a part of the next; the samples carry the same."""
    with danted(tmp_path) as server, sessions(server, 40):
        watch = Watch(server.port)
        await watch.until(lambda status: status.slots["io"]["used"] == 40)
        seen = samples(watch.children)
        assert seen['dante_child_slots{child="io",state="used"}'] == 40
        assert seen['dante_child_slots{child="io",state="free"}'] % 32 == 24
        assert seen["dante_orphan_processes"] == 0
        [finding] = await watch.children.examine()
        assert finding.level == "ok"


async def test_a_full_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the mother has run out of open files: `check` says so."""
    lines = {2: b"danted: io-child: 32/32 (0 in progress)", 3: b"danted: negotiate-child: 5/96"}
    monkeypatch.setattr(procfs, "command_line", lambda pid: lines.get(pid, b"danted -f").ljust(80, b"\0"))
    monkeypatch.setattr(procfs, "children", lambda _: list(lines))
    monkeypatch.setattr(procfs, "name", lambda _: "danted")
    monkeypatch.setattr(processes, "named", AsyncMock(return_value=[(1, 0), (2, 1), (3, 1)]))
    monkeypatch.setattr(procfs, "sockets", lambda _: {7})
    watch = Watch(1)
    watch.children._server._listening = lambda: {7}
    await watch.children.update()
    assert watch.children.status().slots["io"] == {"used": 32, "free": 0}
    assert any(
        "no free slot in its io children" in finding.text for finding in await watch.children.examine()
    )


async def test_a_short_command_line(tmp_path: Path) -> None:
    """Kinds are told by their first letters, slots are not; `check` says how to start it."""
    with danted(tmp_path, short=True) as server:
        watch = Watch(server.port)
        status = await watch.until(lambda status: status.processes == IDLE)
        assert (status.processes, status.slots) == (IDLE, {})
        assert (watch.children.slots(), watch.children.io_slots(), watch.children.processes()) == (
            None,
            None,
            17,
        )
        _, finding = await watch.children.examine()
        assert finding.level == "hint"
        assert str(ENOUGH) in finding.fix


async def test_further_mothers(tmp_path: Path) -> None:
    """Started with -N, each mother has children; they are counted together."""
    with danted(tmp_path, arguments=("-N", "2")) as server:
        status = await Watch(server.port).until(lambda status: status.processes["request"] == 32)
        assert status.server == server.process.pid
        assert status.processes == {"monitor": 1, "negotiate": 2, "request": 32, "io": 2, "unknown": 0}


async def test_the_other_name(tmp_path: Path) -> None:
    """As the program is called where it is built from source."""
    binary = shutil.copy(BINARY, tmp_path / "sockd")
    with danted(tmp_path, binary=str(binary)) as server:
        status = await Watch(server.port).until(lambda status: status.processes == IDLE)
        assert (status.processes, status.slots["io"]["free"]) == (IDLE, 32)
        with pytest.raises(Unfound):
            await Watch(server.port, names=("danted",)).read()


async def test_several_servers(tmp_path: Path) -> None:
    """Ours is the one that listens on the SOCKS port."""
    with danted(folder(tmp_path, "a")) as one, danted(folder(tmp_path, "b")) as other:
        assert (await Watch(one.port).read()).server == one.process.pid
        assert (await Watch(other.port).read()).server == other.process.pid


async def test_several_servers_that_cannot_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to see whose a socket is, none is taken; a pid file settles it."""

    def refused(pid: int) -> set[int]:
        raise SourceError(f"/proc/{pid}/fd: Permission denied", temporary=False)

    monkeypatch.setattr(procfs, "sockets", refused)
    with danted(folder(tmp_path, "a")) as one, danted(folder(tmp_path, "b")):
        watch = Watch(one.port)
        with pytest.raises(Unfound, match="servers named danted or sockd"):
            await watch.read()
        [finding] = await watch.children.examine()
        assert "pid_file" in finding.fix
        assert (await Watch(one.port, pid_file=str(one.pid_file)).read()).server == one.process.pid


async def test_a_pid_file_of_something_else(tmp_path: Path) -> None:
    """It must name a running Dante."""
    pid_file = tmp_path / "pid"
    for content, message in (
        (f"{os.getpid()}\n", "names no running"),
        ("x", "names no running"),
        (None, "No such file"),
    ):
        if content:
            pid_file.write_text(content)
        else:
            pid_file.unlink()
        with pytest.raises(Unfound, match=message):
            await Watch(1, pid_file=str(pid_file)).read()


async def test_no_server() -> None:
    """It is sought again, after longer and longer whiles: here at 0, 4, 8 and 16 seconds."""
    watch = Watch(1, names=("no-such-dante",))
    seeks = []
    original = processes.named

    async def counted(names: tuple[str, ...]) -> list[processes.Process]:
        seeks.append(names)
        return await original(names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "named", counted)
        for _ in range(5):
            with pytest.raises(Unfound, match="no process named no-such-dante is visible"):
                await watch.read()
            await watch.clock.advance(4)
    assert len(seeks) == 4
    [finding] = await watch.children.examine()
    assert "shareProcessNamespace" in finding.fix
    assert samples(watch.children) == {}


async def test_a_restart_leaves_orphans(tmp_path: Path) -> None:
    """They are counted beside the new server's children until their sessions end."""
    with danted(folder(tmp_path, "a")) as old:
        with sessions(old, 40):
            watch = Watch(old.port)
            await watch.until(lambda status: status.slots["io"]["used"] == 40)
            old.terminate()
            with pytest.raises(Unfound):
                await watch.read()
            assert watch.children.io_slots() == 40
            with danted(folder(tmp_path, "b"), port=old.port) as new:
                await watch.clock.advance(10)
                status = await watch.until(lambda status: status.processes == IDLE)
                assert (status.server, status.processes) == (new.process.pid, IDLE)
                assert (status.slots["io"], status.orphans) == ({"used": 40, "free": 32}, 2)
        with pytest.raises(Unfound):
            await watch.read()
        while watch.children.status().orphans:
            with pytest.raises(Unfound):
                await watch.read()


async def test_another_server_takes_the_port(tmp_path: Path) -> None:
    """While we cannot see who listens, any lone server will do; then the right one is taken."""
    with danted(folder(tmp_path, "a")) as one, danted(folder(tmp_path, "b")) as other:
        watch = Watch(other.port, pid_file=str(one.pid_file))
        assert (await watch.read()).server == one.process.pid
        watch = Watch(one.port)
        assert (await watch.read()).server == one.process.pid
        watch.sockets = sockets.build(sockets.Settings(port=other.port), FakeClock())
        watch.children._server._listening = watch.sockets.listening
        await watch.clock.advance(10)
        assert (await watch.read()).server == other.process.pid
        assert watch.children.status().orphans == 0


async def test_a_kernel_without_lists_of_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the family is as old as the last search."""

    def missing(pid: int) -> list[int]:
        raise SourceError(f"/proc/{pid}/task/{pid}/children: No such file or directory", temporary=False)

    monkeypatch.setattr(procfs, "children", missing)
    with danted(tmp_path) as server:
        watch = Watch(server.port)
        assert (await watch.until(lambda status: status.processes == IDLE, 10)).processes == IDLE
        with sessions(server, 40):
            status = await watch.until(lambda status: status.slots["io"]["used"] == 40, 10)
            assert (status.slots["io"]["used"], status.orphans) == (40, 0)
