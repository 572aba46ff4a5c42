"""The settings file is watched by its path: written anew, moved into place, or swapped as by the kubelet."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxywatch.runtime.watch import Watch
from support.fakes import FakeClock

Write = Callable[[Path, str], None]


def projected(directory: Path, content: str, name: str = "proxywatch.yaml") -> None:
    """Put a file into a directory as the kubelet does: a new directory, and one link swapped by a rename."""
    number = len(list(directory.glob("..data_*")))
    fresh = directory / f"..data_{number}"
    fresh.mkdir(parents=True)
    (fresh / name).write_text(content)
    (directory / "..data_tmp").symlink_to(fresh.name)
    (directory / "..data_tmp").rename(directory / "..data")
    if not (directory / name).is_symlink():
        (directory / name).symlink_to(f"..data/{name}")


def in_place(path: Path, content: str) -> None:
    path.write_text(content)


def by_rename(path: Path, content: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(content)
    fresh.rename(path)


def by_link(path: Path, content: str) -> None:
    projected(path.parent, content)


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[tuple[FakeClock, list[str]]]:
    """A watch whose interval is 5 s, and what the file held at each call."""
    clock, calls = FakeClock(), []
    watch = Watch(str(path), lambda: calls.append(path.read_text()), clock, 5)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(watch.run())
        yield clock, calls
        task.cancel()


@pytest.mark.parametrize("write", [in_place, by_rename, by_link])
async def test_a_change_is_reported_once(tmp_path: Path, write: Write) -> None:
    """However it was made; and the next one again."""
    path = tmp_path / "proxywatch.yaml"
    write(path, "one")
    async with watched(path) as (clock, calls):
        await clock.advance(60)
        assert calls == []
        write(path, "two, longer")
        await clock.advance(11)
        assert calls == ["two, longer"]
        await clock.advance(60)
        write(path, "three, longer still")
        await clock.advance(60)
        assert calls == ["two, longer", "three, longer still"]


async def test_a_file_that_is_still_being_written_is_left_alone(tmp_path: Path) -> None:
    """Until it has stayed the same for one interval."""
    path = tmp_path / "proxywatch.yaml"
    path.write_text("a")
    async with watched(path) as (clock, calls):
        for length in range(2, 10):
            path.write_text("a" * length)
            await clock.advance(5)
        assert calls == []
        await clock.advance(5)
        assert calls == ["a" * 9]


async def test_a_file_that_is_missing_has_not_changed(tmp_path: Path) -> None:
    """It is reported when it is there again, as another one."""
    path = tmp_path / "proxywatch.yaml"
    path.write_text("one")
    async with watched(path) as (clock, calls):
        path.unlink()
        await clock.advance(60)
        assert calls == []
        path.write_text("another")
        await clock.advance(11)
        assert calls == ["another"]


def logged(log: Path, words: str) -> bool:
    """Wait until another process has logged them."""
    end = time.monotonic() + 60
    while words not in log.read_text() and time.monotonic() < end:
        time.sleep(0.1)
    return words in log.read_text()


@pytest.mark.slow
def test_the_exporter_takes_new_settings_from_a_swapped_directory(tmp_path: Path) -> None:
    """The program itself, by `run --watch`, without a signal; a fault changes nothing."""
    base = "http: {listen: '127.0.0.1:0'}\nhealth: {listen: '127.0.0.1:0'}\nlatency: {enabled: false}\n"
    off = "".join(f"{name}: {{enabled: false}}\n" for name in ("speed", "exit", "wireguard", "sessions"))
    projected(tmp_path, base + off)
    command = ("run", "--watch", "-c", str(tmp_path / "proxywatch.yaml"))
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "proxywatch", *command], stderr=output)
    try:
        assert logged(log, "msg=listening")
        projected(tmp_path, base + off + "scrape: {interval: often}\n")
        assert logged(log, "settings refused")
        projected(tmp_path, base + off + "proxy: {name: golden-crab}\n")
        assert logged(log, "settings loaded")
        assert process.poll() is None
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(10)
