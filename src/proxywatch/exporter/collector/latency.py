"""Latency of the proxy as a client has it: one GET through it per target and round, over a fresh connection.

A round says whose fault a failure is: when other targets answered, it is the target's, not the proxy's.
"""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from typing import Annotated, Literal

import msgspec

from proxywatch.clock import Clock, Moment
from proxywatch.distribution import Distribution, Exemplar
from proxywatch.errors import NoData, SourceError
from proxywatch.finding import Finding
from proxywatch.metrics import family
from proxywatch.metrics.family import Family, Metric
from proxywatch.probe.outcome import STAGES, USUAL, Transfer
from proxywatch.probe.prober import Prober
from proxywatch.probe.request import Request
from proxywatch.probe.schedule import Interval, Schedule, refuse_haste
from proxywatch.quantity import Duration, Url

LATENCY = family.gauge(
    "proxy_latency_ms",
    "Median over the targets that answered in the last round of the time of one GET through the proxy, in "
    "milliseconds; absent when none answered.",
)
DURATION = family.histogram(
    "proxy_probe_duration_seconds", "Time of successful probes from start to last byte.", ["target"]
)
PHASE = family.summary(
    "proxy_probe_phase_duration_seconds",
    "Time of each phase of successful probes to all targets; tls for https targets only.",
    ["phase"],
)
ATTEMPTS = family.counter("proxy_probe_attempts_total", "Probes made.", ["target"])
FAILURES = family.counter(
    "proxy_probe_failures_total",
    "Probes of all targets failed, by the phase in which and the reason for which they did. Usual reasons "
    "are there from the start at 0, the others once they happen.",
    ["stage", "reason"],
)
SUCCESS = family.gauge("proxy_probe_success", "Whether the last probe of the target succeeded.", ["target"])
LAST_SUCCESS = family.gauge(
    "proxy_probe_last_success_timestamp_seconds", "Unix time of the last successful probe.", ["target"]
)
ROUNDS = family.counter(
    "proxy_probe_rounds_total",
    "Rounds of probes by verdict: ok, all targets answered; target, some did, so it is not the proxy; "
    "proxy, none did; skipped, the round before it still ran.",
    ["verdict"],
)
_FAMILIES = (LATENCY, DURATION, PHASE, ATTEMPTS, FAILURES, SUCCESS, LAST_SUCCESS, ROUNDS)

_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
_FIRST = 3.0
_SLACK = 5.0
_LIMIT = 64 << 10

Positive = Annotated[Duration, msgspec.Meta(gt=0)]
Verdict = Literal["ok", "target", "proxy"]


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a probe fetches, and the answer that it expects.

    Attributes:
        url: http or https; redirects are not followed.
        status: The HTTP status; 0 expects any success, 200 to 299.
        body: The whole body, without white space around it; left out, any body will do.
    """

    url: Url
    status: Annotated[int, msgspec.Meta(ge=0, le=599)] = 0
    body: str | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Latency probes.

    Attributes:
        enabled: Whether to make them.
        interval: From one round to the next.
        timeout: The longest that one probe may take.
        targets: What to fetch by GET, at most 64 KiB each: a URL, whose answer is any success, or a mapping
            of `url`, `status` and `body` with the answer that is expected. Each gets its own series.
    """

    enabled: bool = True
    interval: Interval = Duration(30)
    timeout: Positive = Duration(10)
    targets: tuple[Url | Target, ...] = (
        Target(Url("http://cp.cloudflare.com/generate_204"), status=204),
        Target(Url("http://detectportal.firefox.com/success.txt"), status=200, body="success"),
        Target(Url("https://www.gstatic.com/generate_204"), status=204),
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be probed."""
        if not self.targets or len(set(self.urls)) != len(self.targets):
            raise ValueError("targets: expected at least one, each once")
        refuse_haste(self.interval, self.urls)

    @property
    def expected(self) -> tuple[Target, ...]:
        """The targets with the answers that they are to give."""
        return tuple(each if isinstance(each, Target) else Target(each) for each in self.targets)

    @property
    def urls(self) -> tuple[Url, ...]:
        """The targets' URLs."""
        return tuple(target.url for target in self.expected)


class Status(msgspec.Struct, frozen=True):
    """The last round.

    Attributes:
        at: Unix time of its start.
        verdict: ok, target or proxy: whose fault the failures are.
        latency: The median of the successes, in seconds; None when there were none.
        probes: One per target.
        skipped: Rounds skipped so far because the one before still ran.
    """

    at: float
    verdict: Verdict
    latency: float | None
    probes: tuple[Transfer, ...]
    skipped: int

    @property
    def captive(self) -> bool:
        """Whether all targets that were reached gave other answers than theirs."""
        answers = [probe for probe in self.probes if probe.ok or probe.wrong_answer]
        return bool(answers) and all(probe.wrong_answer for probe in answers)


class LatencyCollector:
    """A watching collector."""

    name = "latency"

    def __init__(
        self, settings: Settings, prober: Prober, *, schedule: Schedule, clock: Clock, quiet: asyncio.Lock
    ) -> None:
        """Prepare; nothing is sent before the first probe is due.

        Args:
            settings: Its section.
            prober: Makes the probes.
            schedule: When rounds are due.
            clock: For the stamps.
            quiet: Held during a round, so that no speed test runs meanwhile.
        """
        self.timeout = settings.timeout + _SLACK
        self._settings = settings
        self._prober = prober
        self._schedule = schedule
        self._clock = clock
        self._quiet = quiet
        self._round: Status | None = None
        self._rounds: dict[family.Labels, float] = dict.fromkeys(("ok", "target", "proxy"), 0)
        self._targets = {url: _Counts() for url in settings.urls}
        stages = [stage for stage in STAGES if stage != "tls" or any(map(_tls, settings.urls))]
        self._phases: dict[family.Labels, Distribution] = {stage: Distribution(()) for stage in stages}
        self._failures: dict[family.Labels, float] = dict.fromkeys(USUAL, 0)

    def describe(self) -> Sequence[Family]:
        """The gauge of the last round, and what was counted since the start per target."""
        return _FAMILIES

    async def due(self) -> None:
        """Wait for the next round, and for the end of a speed test."""
        await self._clock.sleep_until(self._schedule.next(self._clock.monotonic()))
        async with self._quiet:
            pass

    async def update(self) -> None:
        """Make one round.

        Raises:
            NoData: No target answered.
            SourceError: The proxy's password cannot be read.
        """
        at = self._clock.now()
        async with self._quiet:
            probes = await self._probe_all()
        for url, probe in zip(self._settings.urls, probes, strict=True):
            self._count(url, probe)
        successes = [probe.duration for probe in probes if probe.ok]
        verdict: Verdict = "ok" if len(successes) == len(probes) else "target" if successes else "proxy"
        self._rounds[verdict] += 1
        self._round = Status(
            at, verdict, _median(successes) if successes else None, tuple(probes), self._schedule.skipped
        )
        if not successes:
            raise NoData(_messages(probes))

    def _count(self, url: Url, probe: Transfer) -> None:
        self._targets[url].count(probe, self._clock)
        if probe.stage and probe.reason:
            self._failures[probe.stage, probe.reason] = self._failures.get((probe.stage, probe.reason), 0) + 1
            return
        for stage, seconds in probe.phases.items():
            self._phases[stage].observe(seconds)

    async def _probe_all(self) -> list[Transfer]:
        requests = [self._request(target) for target in self._settings.expected]
        return await asyncio.gather(*map(self._prober.probe, requests))

    def _request(self, target: Target) -> Request:
        body = None if target.body is None else target.body.encode()
        return Request("latency", target.url, self._settings.timeout, _LIMIT, status=target.status, body=body)

    def collect(self) -> Iterator[Metric]:
        """The last round's median and successes, and the counts since the start."""
        latency = self._round.latency if self._round else None
        targets = self._targets
        yield LATENCY.value(None if latency is None else latency * 1000)
        yield DURATION.distributions({name: target.duration for name, target in targets.items()})
        yield PHASE.totals(self._phases)
        yield ATTEMPTS.values({name: target.attempts for name, target in targets.items()})
        yield FAILURES.values(self._failures)
        yield SUCCESS.values({name: target.last.ok for name, target in targets.items() if target.last})
        yield LAST_SUCCESS.values(
            {name: it.succeeded.shown(self._clock) for name, it in targets.items() if it.succeeded}
        )
        yield ROUNDS.values(self._rounds | {"skipped": self._schedule.skipped})

    async def examine(self) -> Sequence[Finding]:
        """Does each target answer through the proxy?"""
        try:
            probes = await self._probe_all()
        except SourceError as error:
            return [Finding.fault(str(error), _PASSWORD_FIX)]
        alone = any(probe.ok for probe in probes)
        return [*self._authorities(), *(_finding(probe, alone=alone) for probe in probes)]

    def _authorities(self) -> list[Finding]:
        if self._prober.bundle or not any(map(_tls, self._settings.urls)):
            return []
        text = "no file of trusted certificate authorities: no https target can be verified"
        return [Finding.fault(text, "Install ca-certificates, or name the file in SSL_CERT_FILE.")]

    def status(self) -> Status | None:
        """The last round; None before the first."""
        return self._round


class _Counts:
    """What was counted of one target."""

    def __init__(self) -> None:
        self.attempts = 0
        self.last: Transfer | None = None
        self.succeeded: Moment | None = None
        self.duration = Distribution(_BUCKETS)

    def count(self, probe: Transfer, clock: Clock) -> None:
        self.attempts += 1
        self.last = probe
        if not probe.ok:
            return
        self.succeeded = Moment(probe.at + probe.duration, clock.monotonic())
        exemplar = Exemplar({"probe_id": probe.id}, probe.duration, probe.at)
        self.duration.observe(probe.duration, exemplar)


def _tls(url: str) -> bool:
    return url.startswith("https:")


def _median(values: Sequence[float]) -> float:
    """Of one or more; the `statistics` module is a quarter of a megabyte."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _messages(probes: Sequence[Transfer]) -> str:
    """One sentence for a round without an answer: the reasons, each once."""
    return "; ".join(dict.fromkeys(probe.message() for probe in probes))


def _finding(probe: Transfer, *, alone: bool) -> Finding:
    if probe.ok:
        return Finding.ok(f"{probe.target} answers through the proxy in {probe.duration * 1000:.0f} ms")
    text = f"{probe.target}: {probe.message()}"
    if alone:
        return Finding.hint(text, "Other targets answer: take another one in `latency.targets`.")
    return Finding.fault(text, _FIXES.get(probe.stage or "", "Look at the target in `latency.targets`."))


_PASSWORD_FIX = "Correct `proxy.password_file`, or the file's permissions."  # noqa: S105 - a hint
_FIXES = {
    "proxy_connect": "Start the proxy, or name where it listens in `proxy.url`.",
    "socks": "Look into the proxy's own log: it got the request and did not open the connection.",
    "transfer": "Something on the way may answer in the target's place: open its URL through the proxy.",
    "tls": "Look at the target's certificate, and at this machine's trusted authorities (ca-certificates).",
}


def build(
    settings: Settings, prober: Prober, *, quiet: asyncio.Lock, clock: Clock, dice: Random
) -> LatencyCollector:
    """The collector, its first round within three seconds."""
    schedule = Schedule(settings.interval, _FIRST, dice)
    return LatencyCollector(settings, prober, schedule=schedule, clock=clock, quiet=quiet)
