"""Speed tests through nodes: one at a time, within a budget of bytes, on a schedule or when asked for."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Protocol, Self

import msgspec

from proxywatch.balancer.choosing.fact import Fact
from proxywatch.balancer.facts import goodput
from proxywatch.balancer.facts.budget import DAY, Budget
from proxywatch.balancer.facts.goodput import STEPS
from proxywatch.balancer.facts.through import Reply
from proxywatch.balancer.node import Node
from proxywatch.clock import Clock
from proxywatch.probe.request import Request
from proxywatch.quantity import Duration, Size, Url

SLACK = 256 << 10  # bytes: what libcurl may have read beyond the limit, and headers
_PATIENCE = 10  # seconds that a test may stand still
_MOST_KEPT = 200  # results of a node
_MOST_QUEUED = 10_000
_LOWEST_ALARM = 10.0  # Mbps
_PER_DAY = re.compile(r"(?:per day|/ ?day|/ ?d)$")

Positive = Annotated[Duration, msgspec.Meta(gt=0)]


class DailySize(Size):
    """Bytes per day."""

    expected = "a size per day such as 1GB, or 1GB per day"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `1GB`, `1GB per day`, `1GB/day`."""
        return super().parse(_PER_DAY.sub("", value.strip()).rstrip() if isinstance(value, str) else value)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Speed tests.

    Attributes:
        enabled: Whether to make them on a schedule; they may be asked for in any case.
        interval: From one test of a node to the next; more, where the budget is too small for that.
        bytes: The body of a test; it grows up to 25 times that, within the budget, for nodes that need it.
        budget: Bytes that all tests may cost in any 24 hours; 0 is no limit.
        timeout: The longest that one test may take.
        url: What to fetch, http or https; `{bytes}` in it becomes the number of bytes.
    """

    enabled: bool = True
    interval: Positive = Duration(3600)
    bytes: Annotated[Size, msgspec.Meta(ge=100_000, le=1_000_000_000)] = Size(1_000_000)
    budget: DailySize = DailySize(1_000_000_000)
    timeout: Positive = Duration(60)
    url: Url = Url("https://speed.cloudflare.com/__down?bytes={bytes}")


class Asks(Protocol):
    """Asks through nodes; see `Through`."""

    async def ask(self, node: Node, request: Request) -> Reply:
        """Make one transfer through a node."""


class Pool(Protocol):
    """What is needed of the brain."""

    def learn(self, node: str, facts: Mapping[str, Fact]) -> bool:
        """Take facts about a node."""


class SpeedResult(msgspec.Struct, frozen=True):
    """A test.

    Attributes:
        id: Numbers the tests, so that two with equal figures are two.
        node: Through which.
        country: Of the node.
        at: Unix time of its begin.
        ok: Whether it succeeded.
        fault: Why not; empty when it did.
        size_bytes: Of body that were received.
        time_seconds: From its begin to its end, set-up included.
        download_mbps: The two divided, in 10^6 bits per second; None of a failed test.
        goodput_mbps: From the first byte on, of a body that took two seconds or more; else None.
        rtt_bound: Whether the figure is the round trip's rather than the line's.
        latency_ms: From the request to the first byte of the answer.
    """

    id: int
    node: str
    country: str
    at: float
    ok: bool
    fault: str
    size_bytes: int
    time_seconds: float
    download_mbps: float | None = None
    goodput_mbps: float | None = None
    rtt_bound: bool = False
    latency_ms: float | None = None


class BudgetState(msgspec.Struct, frozen=True):
    """The budget.

    Attributes:
        limit_bytes: In any 24 hours; 0 is no limit.
        spent_bytes: In the last 24 hours.
        reserved_bytes: Promised to the test that runs.
        left_bytes: May still be spent; None without a limit.
        interval_seconds: Between two tests of a node, as the budget allows.
    """

    limit_bytes: int
    spent_bytes: int
    reserved_bytes: int
    left_bytes: int | None
    interval_seconds: float


class SpentError(Exception):
    """The budget does not allow the test; the text says when it will."""


class Speed:
    """Makes them.

    Attributes:
        budget: What they may cost.
        results: By node, the oldest first; of the last 24 hours.
        tests: How many were made.
        failures: How many failed.
        skipped: How many the budget did not allow.
        running: The node that is being tested; empty for none.
    """

    def __init__(
        self,
        asks: Asks,
        pool: Pool,
        settings: Callable[[], Settings],
        clock: Clock,
        *,
        nodes: Callable[[], int],
        heard: Callable[[SpeedResult], None] = lambda _: None,
    ) -> None:
        """Begin without results.

        Args:
            asks: Asks through nodes.
            pool: Learns of it.
            settings: Those in force.
            clock: For the times.
            nodes: How many nodes share the budget.
            heard: Is told of every result.
        """
        self.budget = Budget(settings().budget)
        self.results: dict[str, deque[SpeedResult]] = {}
        self.tests = self.failures = self.skipped = 0
        self.running = ""
        self._asks = asks
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._nodes = nodes
        self._heard = heard
        self._one = asyncio.Lock()
        self._known: dict[str, float] = {}  # bytes per second of each node's last good test
        self._queue: deque[Node] = deque()
        self._asked = asyncio.Event()

    @property
    def queued(self) -> list[str]:
        """The nodes whose test was asked for and has not begun."""
        return [node.id for node in self._queue]

    def interval(self) -> float:
        """Seconds from one test of a node to the next."""
        settings = self._settings()
        if not settings.enabled:
            return float("inf")
        return self._affordable(settings)

    async def test(self, node: Node) -> None:
        """Test a node, when its turn comes and the budget allows it."""
        async with self._one:
            settings, now = self._settings(), self._clock.monotonic()
            self.budget.limit = settings.budget
            size = self._size(node.id, settings, now)
            reserved = size + SLACK
            if not self.budget.reserve(reserved, now):
                self.skipped += 1
                return
            self.running, spent = node.id, reserved
            try:
                result, spent = await self._measure(node, size, settings)
            finally:
                self.running = ""
                self.budget.settle(reserved, spent, self._clock.monotonic())
            self._keep(result)

    def ask(self, nodes: Sequence[Node]) -> list[str]:
        """Have these tested as soon as can be; which of them were not already waiting.

        Raises:
            SpentError: The budget does not allow a single test.
        """
        settings, now = self._settings(), self._clock.monotonic()
        self.budget.limit = settings.budget
        if self.budget.left(now) + self.budget.reserved < settings.bytes + SLACK:
            raise SpentError(
                f"the speed tests' budget is spent; more in {self.budget.frees_in(now) / 60:.0f} minutes"
            )
        waiting = set(self.queued)
        fresh = [node for node in nodes if node.id not in waiting][: _MOST_QUEUED - len(waiting)]
        self._queue.extend(fresh)
        self._asked.set()
        return [node.id for node in fresh]

    async def serve(self) -> None:
        """Make the tests that are asked for, for ever; a task of the daemon."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._queue:
                await self.test(self._queue.popleft())

    def latest(self, node: str) -> SpeedResult | None:
        """The last result of a node, for twice the interval and the time of a test."""
        results = self.results.get(node)
        if not results:
            return None
        settings = self._settings()
        keep = 2 * self._affordable(settings) + settings.timeout
        return results[-1] if self._clock.now() - results[-1].at <= keep else None

    def history(self, node: str) -> list[SpeedResult]:
        """The results of the last 24 hours, the newest first."""
        self._forget_old(node)
        return list(reversed(self.results.get(node, ())))

    def budget_state(self) -> BudgetState:
        """The budget as it is."""
        now, settings = self._clock.monotonic(), self._settings()
        self.budget.limit = settings.budget
        left = self.budget.left(now)
        return BudgetState(
            self.budget.limit,
            self.budget.spent(now),
            self.budget.reserved,
            int(left) if self.budget.limit else None,
            self._affordable(settings),
        )

    def forget(self, nodes: Sequence[Node]) -> None:
        """Forget all but these."""
        for name in self.results.keys() - {node.id for node in nodes}:
            del self.results[name]
            self._known.pop(name, None)

    def _affordable(self, settings: Settings) -> float:
        cost = settings.bytes + SLACK
        return goodput.interval_within(settings.interval, self._nodes(), cost, settings.budget, DAY)

    def _size(self, node: str, settings: Settings, now: float) -> int:
        sizes = [step * settings.bytes for step in STEPS]
        left = self.budget.left(now) - SLACK
        tests = max(1.0, self._nodes() * DAY / self._affordable(settings))
        share = min(left, settings.budget / tests) if settings.budget else left
        return goodput.size_for(sizes, self._known.get(node), share)

    async def _measure(self, node: Node, size: int, settings: Settings) -> tuple[SpeedResult, int]:
        """A result, and what it cost."""
        url = settings.url.replace("{bytes}", str(size))
        request = Request("speed", url, settings.timeout, size, enough=True, patience=_PATIENCE)
        at = self._clock.now()
        reply = await self._asks.ask(node, request)
        self.tests += 1
        transfer = reply.transfer
        if transfer is None or not reply.ok:
            self.failures += 1
            spent = transfer.bytes if transfer else 0
            failed = SpeedResult(
                id=self.tests,
                node=node.id,
                country=node.country,
                at=at,
                ok=False,
                fault=reply.reason,
                size_bytes=spent,
                time_seconds=reply.seconds,
            )
            return failed, spent
        rtt, body = transfer.phases.first_byte, transfer.phases.transfer
        if transfer.speed is not None:
            self._known[node.id] = transfer.speed
        result = SpeedResult(
            id=self.tests,
            node=node.id,
            country=node.country,
            at=at,
            ok=True,
            fault="",
            size_bytes=transfer.bytes,
            time_seconds=reply.seconds,
            download_mbps=goodput.mbps(transfer.bytes, reply.seconds),
            goodput_mbps=goodput.goodput_mbps(transfer.speed, body),
            rtt_bound=goodput.rtt_bound(transfer.bytes, reply.seconds, rtt),
            latency_ms=None if rtt is None else 1000 * rtt,
        )
        return result, transfer.bytes

    def _keep(self, result: SpeedResult) -> None:
        self.results.setdefault(result.node, deque(maxlen=_MOST_KEPT)).append(result)
        self._forget_old(result.node)
        speed = figure(result)
        if speed is not None:
            self._pool.learn(result.node, {"speed_mbps": Fact(speed, self._clock.monotonic(), "speed")})
        self._heard(result)

    def _forget_old(self, node: str) -> None:
        results = self.results.get(node)
        while results and self._clock.now() - results[0].at > DAY:
            results.popleft()


def figure(result: SpeedResult) -> float | None:
    """The speed by which a node is judged: goodput; else the plain figure, unless it is the round trip's and low."""
    if result.goodput_mbps is not None:
        return result.goodput_mbps
    plain = result.download_mbps
    if plain is None or (result.rtt_bound and plain < _LOWEST_ALARM):
        return None
    return plain
