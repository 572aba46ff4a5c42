"""A daemon of another kind, assembled from the shared rooms alone: none of them knows what it is part of."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest

from proxywatch.clock import SystemClock
from proxywatch.config import Config, Schema, load
from proxywatch.errors import ConfigError
from proxywatch.health import settings as health
from proxywatch.health.checks import Check
from proxywatch.health.server import HealthServer
from proxywatch.metrics import family
from proxywatch.metrics.family import Family, Metric
from proxywatch.metrics.registry import Registry
from proxywatch.quantity import Duration
from proxywatch.runtime.reload import Reload, Reloads
from proxywatch.runtime.signals import Signals
from proxywatch.runtime.supervisor import Plan, Supervisor
from support.wire import Wire, until

BEATS = family.counter("heart_beats_total", "How often the heart has beaten.")


class HeartSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The only part of this daemon.

    Attributes:
        enabled: Whether it beats.
        interval: How often it beats.
    """

    enabled: bool = True
    interval: Duration = Duration(0.01)


SCHEMA = Schema(
    {"heart": HeartSettings, "health": health.Settings},
    prefix="HEART_",
    aliases={"PULSE": {("heart", "interval"): lambda text, _: text}},
)


@dataclass(slots=True, eq=False)
class Heart:
    """Counts its beats."""

    settings: HeartSettings
    name: str = "heart"
    beats: int = 0
    closed: bool = False

    async def run(self) -> None:
        while True:
            self.beats += 1
            await asyncio.sleep(self.settings.interval)

    async def close(self) -> None:
        self.closed = True

    def describe(self) -> list[Family]:
        return [BEATS]

    def collect(self) -> Iterator[Metric]:
        yield BEATS.value(self.beats)


@dataclass(slots=True)
class Daemon:
    """What the test looks at."""

    registry: Registry
    signals: Signals
    reload: Reload
    reloads: Reloads
    health: str
    hearts: list[Heart] = field(default_factory=list)


@asynccontextmanager
async def daemon(read: Callable[[], Config]) -> AsyncIterator[Daemon]:
    """The daemon while it runs."""
    config = read()
    clock = SystemClock()
    signals = Signals.install()
    registry = Registry({"body": "test"})
    hearts: list[Heart] = []

    def build(settings: HeartSettings) -> Heart:
        hearts.append(Heart(settings))
        return hearts[-1]

    def plans(config: Config) -> dict[str, Plan[Heart]]:
        settings = config[HeartSettings]
        return {"heart": Plan(settings, lambda: build(settings), Heart.run)} if settings.enabled else {}

    async with AsyncExitStack() as stack:
        supervisor: Supervisor[Heart] = await stack.enter_async_context(
            Supervisor(
                0.5, lambda _, heart: registry.register(heart), lambda _, heart: registry.unregister(heart)
            )
        )
        supervisor.apply(plans(config))
        reloads = Reloads()
        reload = Reload(
            read,
            config,
            lambda config: supervisor.apply(plans(config)),
            at_start_only=("health",),
            record=reloads,
            clock=clock,
        )
        supervisor.start(reload=reload.on(signals.reload))
        beating = {"/readyz": lambda: [Check("heart", ok=hearts[-1].beats > 0, reason="it beats")]}
        server = await stack.enter_async_context(HealthServer(config[health.Settings], beating, clock))
        yield Daemon(registry, signals, reload, reloads, server.addresses[0], hearts)


def settings(**environ: str) -> Config:
    return load("health: {listen: '127.0.0.1:0'}", environ, SCHEMA)


def beats(registry: Registry) -> list[tuple[dict[str, str], float]]:
    return [(sample.labels, sample.value) for metric in registry.collect() for sample in metric.samples]


async def test_it_runs_answers_reloads_and_ends() -> None:
    """With sections, a prefix and a short name of its own; health, metrics, signals, an orderly end."""
    environ = {"PULSE": "5ms"}
    async with daemon(lambda: settings(**environ)) as running:
        assert running.hearts[0].settings.interval == 0.005
        await until(lambda: running.hearts[0].beats > 2)
        ((labels, value),) = beats(running.registry)
        assert labels == {"body": "test"}
        assert value > 2
        wire = await Wire.to(running.health)
        await wire.send(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert (await wire.rest()).endswith(b"+ heart: it beats\n")
        await wire.close()
        environ["HEART_HEART_INTERVAL"] = "1ms"
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(running.hearts) == 2)
        await until(lambda: running.hearts[0].closed)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running.signals.stop.wait(), 5)
    assert running.hearts[1].closed


async def test_refused_settings_change_nothing() -> None:
    """Those in force stay in force; the fault is on record; the daemon goes on."""
    environ: dict[str, str] = {}
    async with daemon(lambda: settings(**environ)) as running:
        environ["HEART_HEART_INTERVAL"] = "often"
        with pytest.raises(ConfigError):
            await running.reload()
        assert not running.reloads.successful
        assert "HEART_HEART_INTERVAL" in running.reloads.fault
        environ.clear()
        await running.reload()
        assert running.reloads.fault == ""
        assert len(running.hearts) == 1


async def test_the_last_reload_decides(caplog: pytest.LogCaptureFixture) -> None:
    """However long an earlier one takes to read the file; they take turns."""
    reading = threading.Event()
    texts = ["interval: often", "interval: 1ms"]

    def slow() -> Config:
        if started:
            text = texts.pop(0)
            if text.endswith("often"):
                reading.wait(5)
            return load(f"heart: {{{text}}}\nhealth: {{listen: '127.0.0.1:0'}}", {}, SCHEMA)
        started.append(None)
        return settings()

    started: list[None] = []
    caplog.set_level("INFO")
    async with daemon(slow) as running, asyncio.TaskGroup() as group:
        running.signals.reload.set()
        await until(lambda: len(texts) == 1)
        second = group.create_task(running.reload())
        await asyncio.wait({second}, timeout=0.2)
        reading.set()
        await second
        await until(lambda: "refused" in caplog.text and "loaded" in caplog.text)
        assert running.reloads.successful
        assert running.reload.config[HeartSettings].interval == 0.001


async def test_an_unforeseen_failure_of_a_reload_is_a_fault_not_the_end() -> None:
    """Whatever reading or applying raises, the daemon runs on with what it has."""

    def broken() -> Config:
        if calls:
            raise ZeroDivisionError
        calls.append(None)
        return settings()

    calls: list[None] = []
    async with daemon(broken) as running:
        running.signals.reload.set()
        await until(lambda: not running.reloads.successful)
        assert "ZeroDivisionError" in running.reloads.fault
        before = running.hearts[0].beats
        await until(lambda: running.hearts[0].beats > before)


async def test_a_part_can_be_switched_off_and_on() -> None:
    """Off: closed and its series gone; on again: a new one."""
    environ: dict[str, str] = {}
    async with daemon(lambda: settings(**environ)) as running:
        environ["HEART_HEART_ENABLED"] = "false"
        await running.reload()
        await until(lambda: running.hearts[0].closed)
        assert beats(running.registry) == []
        environ.clear()
        await running.reload()
        assert len(running.hearts) == 2
