"""The balancer, assembled: nodes and their facts, the brain, the relay, the API, health, and how it ends."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from random import SystemRandom
from typing import Any, cast

from proxywatch import logs
from proxywatch.balancer import measuring
from proxywatch.balancer.api.app import build
from proxywatch.balancer.api.guard import App, Guard, Hosts
from proxywatch.balancer.api.login import Logins
from proxywatch.balancer.api.server import ApiServer
from proxywatch.balancer.api.settings import Api
from proxywatch.balancer.choosing import settings as choosing
from proxywatch.balancer.choosing.brain import PoolBrain
from proxywatch.balancer.choosing.event import Event
from proxywatch.balancer.choosing.state import USABLE
from proxywatch.balancer.choosing.strategy.table import GROUP, Strategies, strategies
from proxywatch.balancer.config import Health, Settings, derive, public
from proxywatch.balancer.config import Journal as JournalSettings
from proxywatch.balancer.control import Control
from proxywatch.balancer.discovery.membership import Membership
from proxywatch.balancer.discovery.metrics import DiscoveryMetrics
from proxywatch.balancer.discovery.settings import Discovery
from proxywatch.balancer.discovery.sighting import Sighting
from proxywatch.balancer.discovery.sources import Sources
from proxywatch.balancer.facts import probe, speed
from proxywatch.balancer.facts.fetch import SidecarFetch
from proxywatch.balancer.facts.sidecar import Sidecars
from proxywatch.balancer.journal import Journal
from proxywatch.balancer.measures import Measures
from proxywatch.balancer.measuring import Measuring
from proxywatch.balancer.measuring_metrics import MeasuringMetrics
from proxywatch.balancer.metrics import BalancerMetrics
from proxywatch.balancer.node import Upstream
from proxywatch.balancer.observed import SPOKEN, Observed
from proxywatch.balancer.relay import settings as relay_settings
from proxywatch.balancer.relay.server import Relay
from proxywatch.balancer.relay.users import Users
from proxywatch.clock import Clock, SystemClock
from proxywatch.config import Config
from proxywatch.errors import ConfigError, Fault
from proxywatch.health.checks import Check
from proxywatch.health.server import HealthServer
from proxywatch.instrument import MetricsAwareProxy
from proxywatch.instrument.prometheus import ProxyCollector
from proxywatch.metrics.registry import Registry
from proxywatch.runtime.reload import Reload, Reloads
from proxywatch.runtime.signals import Signals

log = logging.getLogger(__name__)

_AT_START_ONLY = ("relay", "api", "health", "affinity", "journal")
_TICK = 1.0
_LOUD = frozenset({"ejected", "exit_drift", "wrong_exit", "withheld", "strategy_failed", "pressure"})
_CLOSING = frozenset({"exit_drift", "drained"})
_FILES_EVERY = 5.0
_QUIET = frozenset({"decision", "lease"})


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where the balancer listens, as people write it."""

    relay: list[str]
    api: list[str]
    health: list[str]


@dataclass(slots=True)
class Balancer:
    """The parts that do not change while the balancer runs.

    Attributes:
        settings: In force.
        strategies: All there are.
        clock: Both clocks of the machine.
        brain: Chooses.
        members: The nodes of the pool: those of the settings, and those that the sources see.
        sources: Where the latter come from.
        listeners: Who is told of events.
    """

    settings: Settings
    strategies: Strategies
    clock: Clock
    brain: PoolBrain
    members: Membership
    sources: Sources
    listeners: list[Callable[[Event], None]] = field(default_factory=list)

    def apply(self, config: Config) -> None:
        """Put settings into force; nothing that is open is touched.

        Raises:
            ConfigError: They have faults; nothing changed.
        """
        settings = derive(config, self.strategies, self.clock)
        self.brain.configure(settings.choosing)
        self.brain.set_rules(settings.rules)
        self.members.drain = config[Discovery].drain
        self.members.set_static(settings.nodes, self.clock.monotonic())
        self.sources.configure(settings.sources)
        self.settings = settings
        logs.install(config[logs.Settings])

    def upstream_of(self, node: str) -> Upstream | None:
        """How to reach a node that others are reached through."""
        candidate = self.brain.pool.roster.get(node)
        return candidate.node.upstream if candidate is not None else None

    def measuring(self) -> Measuring:
        """What measures the nodes by itself."""

        def settings() -> measuring.Settings:
            config = self.settings.config
            return measuring.Settings(config[probe.Settings], config[speed.Settings], config[choosing.Exit])

        return Measuring(
            self.brain,
            lambda: self.members.nodes,
            settings,
            self.upstream_of,
            clock=self.clock,
            dice=SystemRandom(),
            tell=self.heard,
        )

    def readiness(self) -> list[Check]:
        """Ready while at least one node is usable."""
        roster = list(self.brain.pool.roster)
        usable = sum(candidate.standing.kind in USABLE for candidate in roster)
        return [Check("nodes", ok=usable > 0, reason=f"{usable} of {len(roster)} nodes are usable")]

    def heard(self, event: Event) -> None:
        """Log an event, and pass it on."""
        for listener in self.listeners:
            listener(event)
        if event.type not in _QUIET:
            level = logging.WARNING if event.type in _LOUD else logging.INFO
            fields = {"node": event.node, "country": event.country, "reason": event.reason}
            log.log(level, event.type, extra={name: value for name, value in fields.items() if value})

    async def tick(self) -> None:
        """Do what time alone brings; a task of the daemon."""
        while True:
            await self.clock.sleep_until(self.clock.monotonic() + _TICK)
            self.brain.tick()
            self.members.tick(self.clock.monotonic())


def assemble(config: Config, clock: Clock | None = None, journal: Journal | None = None) -> Balancer:
    """The parts, with the settings in force.

    Args:
        config: The settings.
        clock: Both clocks; None for those of the machine.
        journal: Keeps the decisions; None to keep them in memory alone.

    Raises:
        ConfigError: With every fault found.
    """
    clock = clock or SystemClock()
    known = strategies((point.name, point.load()) for point in entry_points(group=GROUP))
    settings = derive(config, known, clock)
    heard: list[Callable[[Event], None]] = []
    brain = PoolBrain(
        settings.choosing,
        clock=clock.monotonic,
        wall=clock.now,
        dice=SystemRandom(),
        strategies=known,
        on_event=lambda event: heard[0](event) if heard else None,
        on_decision=journal.add if journal is not None else None,
    )
    members = Membership(brain, config[Discovery].drain)

    def saw(sightings: Mapping[str, Sighting]) -> None:
        members.saw(sightings, clock.monotonic())

    sources = Sources(saw, clock=clock, dice=SystemRandom())
    balancer = Balancer(settings, known, clock, brain, members, sources)
    heard.append(balancer.heard)
    balancer.apply(config)
    return balancer


async def run(read: Callable[[], Config], announce: Callable[[Listeners], None] = lambda _: None) -> int:
    """The balancer, from its settings to its end by SIGTERM or SIGINT.

    Args:
        read: Reads the settings; raises ConfigError. Called again for each reload.
        announce: Called with the addresses, once it listens on them.

    Returns:
        The exit status.

    Raises:
        ConfigError: The settings have faults at the start, or an address cannot be listened on; it may be
            wrapped in an ExceptionGroup.
    """
    config = read()
    logs.install(config[logs.Settings])
    signals = Signals.install()
    clock = SystemClock()
    path = config[JournalSettings].file
    journal = Journal(path, clock) if path else None
    balancer = assemble(config, clock, journal)
    brain = balancer.brain
    async with AsyncExitStack() as stack:
        fetch = await stack.enter_async_context(
            aclosing(SidecarFetch(lambda: balancer.settings.choosing.collect))
        )
        sidecars = Sidecars(
            lambda: balancer.members.nodes,
            brain.learn,
            fetch,
            interval=lambda: float(balancer.settings.choosing.collect.interval),
            clock=clock,
            dice=SystemRandom(),
        )
        reloads = Reloads()
        reload = Reload(
            read, config, balancer.apply, at_start_only=_AT_START_ONLY, record=reloads, clock=clock
        )
        observed = Observed(MetricsAwareProxy(types=SPOKEN, clock=clock.monotonic, time=clock.now))
        measures = await stack.enter_async_context(balancer.measuring())
        balancer.listeners.append(measures.heard)
        control = Control(
            brain, clock, sidecars.states, lambda: public(reload.config), balancer.sources.states
        )
        relay = await stack.enter_async_context(_relay(balancer, config[relay_settings.Settings], observed))
        registry = _registry(balancer, sidecars, observed, relay)
        registry.register(DiscoveryMetrics(balancer.sources.states))
        registry.register(MeasuringMetrics(measures, lambda: balancer.members.nodes))
        balancer.listeners.append(partial(_close_through, relay))
        logins = _logins(config[Api])
        if logins is not None:
            stack.callback(logins.close)
        questions = Measures(brain, measures, clock)
        api = await stack.enter_async_context(_api(control, registry, questions, config[Api], logins))
        tasks = await stack.enter_async_context(_Tasks())
        tasks.start(
            tick=balancer.tick(),
            sidecars=sidecars.run(),
            discovery=balancer.sources.run(),
            reload=reload.on(signals.reload),
            logins=_follow(logins, clock),
            **measures.loops(),
        )
        if journal is not None:
            tasks.start(journal=journal.run())
        checks = {"/readyz": balancer.readiness, "/healthz": balancer.readiness}
        probed = await stack.enter_async_context(HealthServer(config[Health].port(), checks, clock))
        listeners = Listeners(relay.addresses, api.addresses, probed.addresses)
        log.info(
            "listening",
            extra={
                "relay": " ".join(listeners.relay),
                "api": " ".join(listeners.api),
                "health": " ".join(listeners.health),
            },
        )
        announce(listeners)
        await signals.stop.wait()
        log.info("stopping", extra={"open": len(relay.sessions)})
        await relay.drain(config[relay_settings.Settings].drain)
        if journal is not None:
            await journal.write()
    return 1 if signals.failure else 0


def _close_through(relay: Relay, event: Event) -> None:
    """Close the connections through a node that may not be used any more."""
    if event.type in _CLOSING:
        closed = relay.close_node(event.node, event.type)
        if closed:
            log.warning(
                "connections closed", extra={"node": event.node, "reason": event.type, "count": closed}
            )


async def _follow(logins: Logins | None, clock: Clock) -> None:
    """Read users and tokens again when their files change; a task of the daemon."""
    while logins is not None:
        await clock.sleep_until(clock.monotonic() + _FILES_EVERY)
        logins.reload()


def _relay(balancer: Balancer, settings: relay_settings.Settings, observed: Observed) -> Relay:
    return Relay(
        settings,
        balancer.brain,
        users=Users(settings.users_file) if settings.users_file else None,
        observer=observed,
        upstream_of=balancer.upstream_of,
        front=_front(settings.tls),
        clock=balancer.clock,
    )


def _front(tls: relay_settings.Tls) -> ssl.SSLContext | None:
    """TLS toward clients.

    Raises:
        ConfigError: The files cannot be read.
    """
    if not tls.cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(Fault("relay.tls", f"the certificate or its key cannot be used: {error}")) from None
    return context


def _registry(balancer: Balancer, sidecars: Sidecars, observed: Observed, relay: Relay) -> Registry:
    registry = Registry({})
    registry.register(
        BalancerMetrics(
            balancer.brain,
            balancer.clock,
            sidecars.states,
            observed.refusals,
            lambda: relay.handshakes,
        )
    )
    registry.register(ProxyCollector(observed.proxy, prefix="balancer"))
    return registry


def _logins(settings: Api) -> Logins | None:
    if settings.users_file or settings.tokens_file:
        return Logins(settings.users_file, settings.tokens_file)
    return None


def _api(
    control: Control, registry: Registry, measures: Measures, settings: Api, logins: Logins | None
) -> ApiServer:
    hosts = Hosts.of([address.host for address in settings.listen if address.path is None], settings.hosts)
    check = logins.check if logins else None
    guarded = Guard(
        cast("App", build(control, registry, measures)), hosts, check, realm="proxywatch balancer"
    )
    return ApiServer(guarded, settings.listen, settings.max_connections)


class _Tasks(asyncio.TaskGroup):
    """The daemon's own tasks, which never end by themselves and are cancelled at its end."""

    def __init__(self) -> None:
        super().__init__()
        self._running: list[asyncio.Task[None]] = []

    def start(self, **loops: Coroutine[Any, Any, None]) -> None:
        """Run them by name."""
        self._running += [self.create_task(loop, name=name) for name, loop in loops.items()]

    async def __aexit__(self, *failure: object) -> None:
        for task in self._running:
            task.cancel()
        await super().__aexit__(*failure)  # type: ignore[arg-type]
