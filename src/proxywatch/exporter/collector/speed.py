"""Speed through the proxy: so many bytes over one fresh connection, timed from first to last byte.

A small body over a long way measures the distance as much as the speed, as TCP starts slowly;
`speed.min_duration` goes on reading until the body has taken that long.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Annotated

import msgspec

from proxywatch.clock import Clock, Moment
from proxywatch.errors import NoData, ProxywatchError
from proxywatch.finding import Finding
from proxywatch.metrics import family
from proxywatch.metrics.family import Family, Metric
from proxywatch.probe.budget import Budget
from proxywatch.probe.outcome import USUAL, Transfer
from proxywatch.probe.prober import Prober
from proxywatch.probe.request import Request
from proxywatch.probe.schedule import Interval, Schedule, refuse_haste
from proxywatch.quantity import Duration, Size, Url

MBPS = family.gauge(
    "proxy_download_speed_mbps",
    "Speed of the last test in 10^6 bits of body per second, from its first byte to its last; absent after a "
    "failed test.",
)
THROUGHPUT = family.gauge(
    "proxy_speedtest_throughput_bytes_per_second",
    "Speed of the last test, from the first byte of the body to the last; absent after a failed test.",
)
TAIL = family.gauge(
    "proxy_speedtest_tail_throughput_bytes_per_second",
    "Speed of the second half of the last test's body, when TCP's slow start is over or nearly; absent after "
    "a failed test.",
)
DURATION = family.gauge(
    "proxy_speedtest_duration_seconds",
    "Time of the last test from its start to its last byte, handshakes included; absent after a failed test.",
)
ATTEMPTS = family.counter("proxy_speedtest_attempts_total", "Speed tests made.")
FAILURES = family.counter(
    "proxy_speedtest_failures_total",
    "Speed tests failed, by the phase in which and the reason for which they did. Usual reasons are there "
    "from the start at 0, the others once they happen.",
    ["stage", "reason"],
)
SKIPPED = family.counter(
    "proxy_speedtest_skipped_total",
    "Speed tests not made: budget, the day's bytes are spent; busy, clients fill the tunnel; overrun, the "
    "one before still ran.",
    ["reason"],
)
BYTES = family.counter("proxy_speedtest_bytes_total", "Bytes of body received by speed tests.")
LAST_SUCCESS = family.gauge(
    "proxy_speedtest_last_success_timestamp_seconds", "Unix time of the last successful speed test."
)
UPLOAD_MBPS = family.gauge(
    "proxy_upload_speed_mbps",
    "Speed of the last upload test in 10^6 bits of body per second, from the first byte sent to the answer; "
    "absent after a failed test, and where `speed.upload.enabled` is false.",
)
UPLOADS = family.counter(
    "proxy_speedtest_upload_attempts_total", "Upload tests made; absent where they are not enabled."
)
UPLOAD_FAILURES = family.counter(
    "proxy_speedtest_upload_failures_total",
    "Upload tests failed, by the phase in which and the reason for which they did; absent until they do.",
    ["stage", "reason"],
)
SENT = family.counter(
    "proxy_speedtest_upload_bytes_total",
    "Bytes of body sent by upload tests; absent where they are not enabled.",
)
_FAMILIES = (
    MBPS, THROUGHPUT, TAIL, DURATION, ATTEMPTS, FAILURES, SKIPPED, BYTES, LAST_SUCCESS, UPLOAD_MBPS, UPLOADS,
    UPLOAD_FAILURES, SENT,
)  # fmt: skip

_FIRST = 10.0
_SLACK = 5.0
_LOOK = 1.0
_LIMIT = 64 << 10
_BUSY = 0.5
_MOST_BUSY = 2  # in a row: the speed that clients are compared with may have been a bad moment's
_PATIENCE = 10  # latency probes wait meanwhile

Positive = Annotated[Duration, msgspec.Meta(gt=0)]
Counter = Callable[[], int | None]


class Upload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Upload tests, one after each download.

    Attributes:
        enabled: Whether to make them.
        url: Where to send the bytes by POST, http or https; any success will do.
        bytes: How many to send.
    """

    enabled: bool = False
    url: Url = Url("https://speed.cloudflare.com/__up")
    bytes: Annotated[Size, msgspec.Meta(gt=0)] = Size(1_000_000)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Speed tests.

    Attributes:
        enabled: Whether to make them.
        interval: From one test to the next.
        timeout: The longest that one test may take; one that stands still for ten seconds is given up.
        url: What to fetch, http or https; `{bytes}` in it becomes the number of bytes that may be read.
        bytes: The body to read at least, where `max_bytes` allows it; a shorter one is a failure.
        min_duration: Read on until the body has taken this long, up to `max_bytes`, so that a far exit is
            measured past TCP's slow start; 0s reads `bytes` and no more.
        max_bytes: The most to read in one test.
        daily_bytes: The most to read and send in a day (UTC); further tests are skipped. 0 is no limit.
        upload: Upload tests, one after each download.
    """

    enabled: bool = True
    interval: Interval = Duration(300)
    timeout: Positive = Duration(60)
    url: Url = Url("https://speed.cloudflare.com/__down?bytes={bytes}")
    bytes: Annotated[Size, msgspec.Meta(gt=0)] = Size(1_000_000)
    min_duration: Duration = Duration(0)
    max_bytes: Size = Size(25_000_000)
    daily_bytes: Size = Size(1_000_000_000)
    upload: Upload = Upload()

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.min_duration >= self.timeout:
            raise ValueError("min_duration: expected less than timeout")
        refuse_haste(self.interval, (self.url, self.upload.url) if self.upload.enabled else (self.url,))

    @property
    def least(self) -> Size:
        """The body to read at least: never more than the most."""
        return min(self.bytes, self.max_bytes)

    @property
    def needed(self) -> int:
        """The bytes that one test takes at least, in both directions."""
        return self.least + (self.upload.bytes if self.upload.enabled else 0)


class Status(msgspec.Struct, frozen=True):
    """The last test.

    Attributes:
        last: The last test made; None before the first.
        skipped: Why the one that was due last was not made; empty when it was.
        spent: Bytes read and sent since the start.
        upload: The last upload test; None before the first, and where they are not enabled.
    """

    last: Transfer | None
    skipped: str
    spent: int
    upload: Transfer | None = None


class SpeedCollector:
    """A watching collector."""

    name = "speed"

    def __init__(
        self,
        settings: Settings,
        prober: Prober,
        received: Counter,
        *,
        schedule: Schedule,
        clock: Clock,
        quiet: asyncio.Lock,
    ) -> None:
        """Prepare; nothing is sent before the first probe is due.

        Args:
            settings: Its section.
            prober: Makes the transfers.
            received: Bytes that the tunnel's device has received; None where that cannot be read.
            schedule: When tests are due.
            clock: For the stamps and the look at the traffic.
            quiet: Held during a test, so that no latency probe runs meanwhile.
        """
        self.timeout = settings.timeout * (2 if settings.upload.enabled else 1) + _LOOK + _SLACK
        self._settings = settings
        self._prober = prober
        self._received = received
        self._schedule = schedule
        self._clock = clock
        self._quiet = quiet
        self._budget = Budget(settings.daily_bytes)
        self._last: Transfer | None = None
        self._succeeded: Transfer | None = None
        self._succeeded_at: Moment | None = None
        self._attempts = 0
        self._upload: Transfer | None = None
        self._uploads = 0
        self._upload_failures: dict[family.Labels, float] = {}
        self._sent = 0
        self._spent = 0
        self._failures: dict[family.Labels, float] = dict.fromkeys(USUAL, 0)
        self._skips: dict[family.Labels, float] = dict.fromkeys(("budget", "busy"), 0)
        self._skip = ""
        self._busy_in_row = 0

    def describe(self) -> Sequence[Family]:
        """The last test, and what was counted since the start."""
        return _FAMILIES

    async def due(self) -> None:
        """Wait for the next test, and for the end of a round of latency probes."""
        await self._clock.sleep_until(self._schedule.next(self._clock.monotonic()))
        async with self._quiet:
            pass

    async def update(self) -> None:
        """Make one test, unless there is a reason not to.

        Raises:
            NoData: It was skipped, or failed.
            SourceError: The proxy's password cannot be read.
        """
        self._skip = await self._why_not()
        if self._skip:
            self._skips[self._skip] += 1
            raise NoData(_SKIPS[self._skip])
        async with self._quiet:
            test = await self._test()
            if self._settings.upload.enabled:
                await self._test_upload()
        if not test.ok:
            raise NoData(test.message())
        if test.speed is None:
            raise NoData("the body came in one piece, too short to be timed: ask for more in `speed.bytes`")

    async def _why_not(self) -> str:
        """The reason to skip this test; empty for none."""
        if self._budget.left(self._clock.now()) < self._settings.needed:
            return "budget"
        left_out = self._busy_in_row < _MOST_BUSY and await self._busy()
        self._busy_in_row = self._busy_in_row + 1 if left_out else 0
        return "busy" if left_out else ""

    async def _busy(self) -> bool:
        """Whether clients use half of what the last good test saw: a test would measure what they leave."""
        before = self._received()
        if before is None or self._succeeded is None or self._succeeded.speed is None:
            return False
        start = self._clock.monotonic()
        await self._clock.sleep_until(start + _LOOK)
        after = self._received()
        if after is None:
            return False
        return (after - before) / (self._clock.monotonic() - start) > _BUSY * self._succeeded.speed

    async def _test(self) -> Transfer:
        settings = self._settings
        most = (
            int(min(settings.max_bytes, self._budget.left(self._clock.now())))
            if settings.min_duration
            else settings.least
        )
        test = await self._prober.probe(
            Request(
                "speed",
                settings.url.replace("{bytes}", str(int(most))),
                settings.timeout,
                most,
                enough=True,
                min_duration=settings.min_duration,
                least=settings.least,
                patience=_PATIENCE,
            )
        )
        self._count(test)
        return test

    async def _test_upload(self) -> Transfer:
        upload = self._settings.upload
        request = Request(
            "upload", upload.url, self._settings.timeout, _LIMIT, patience=_PATIENCE, upload=int(upload.bytes)
        )
        test = self._upload = await self._prober.probe(request)
        self._uploads += 1
        self._sent += test.sent
        self._budget.spend(test.sent, self._clock.now())
        if test.stage and test.reason:
            failure = (test.stage, test.reason)
            self._upload_failures[failure] = self._upload_failures.get(failure, 0) + 1
        return test

    def _count(self, test: Transfer) -> None:
        self._attempts += 1
        self._last = test
        self._spent += test.bytes
        self._budget.spend(test.bytes, self._clock.now())
        if test.stage and test.reason:
            self._failures[test.stage, test.reason] = self._failures.get((test.stage, test.reason), 0) + 1
        else:
            self._succeeded = test
            self._succeeded_at = Moment(test.at + test.duration, self._clock.monotonic())

    def collect(self) -> Iterator[Metric]:
        """The last test when it succeeded, and the counts since the start."""
        test = self._last if self._last and self._last.ok else None
        speed = test.speed if test else None
        yield MBPS.value(None if speed is None else speed * 8 / 1e6)
        yield THROUGHPUT.value(speed)
        yield TAIL.value(test.tail_speed if test else None)
        yield DURATION.value(test.duration if test else None)
        yield ATTEMPTS.value(self._attempts)
        yield FAILURES.values(self._failures)
        yield SKIPPED.values(self._skips | {"overrun": self._schedule.skipped})
        yield BYTES.value(self._spent)
        upload = self._upload if self._upload and self._upload.ok else None
        enabled = self._settings.upload.enabled
        yield UPLOAD_MBPS.value(upload.speed * 8 / 1e6 if upload and upload.speed else None)
        yield UPLOADS.value(self._uploads if enabled else None)
        yield UPLOAD_FAILURES.values(self._upload_failures)
        yield SENT.value(self._sent if enabled else None)
        yield LAST_SUCCESS.value(self._succeeded_at.shown(self._clock) if self._succeeded_at else None)

    async def examine(self) -> Sequence[Finding]:
        """Do the URLs serve and take as many bytes as the settings say?"""
        try:
            test = await self._test()
            upload = await self._test_upload() if self._settings.upload.enabled else None
        except ProxywatchError as error:
            return [Finding.fault(str(error), _PASSWORD_FIX)]
        if (test.stage, test.reason) == ("transfer", "short_body"):
            requested = int(self._settings.least)
            text = (
                f"{test.target} served {test.bytes} of {requested} bytes: many endpoints cap what they serve"
            )
            return [Finding.fault(text, "Name another one in `speed.url`, or ask for less in `speed.bytes`.")]
        if not test.ok:
            return [
                Finding.fault(
                    f"{test.target}: {test.message()}",
                    "Look at the latency probes first; then at `speed.url`.",
                )
            ]
        found = Finding.ok(f"{test.bytes} bytes at {_mbps(test)} Mbit/s through the proxy")
        return [found, _finding_of(upload)] if upload else [found]

    def status(self) -> Status:
        """The last test, or why it was not made."""
        return Status(self._last, self._skip, self._spent + self._sent, self._upload)


_PASSWORD_FIX = "Correct `proxy.password_file`, or the file's permissions."  # noqa: S105 - a hint


def _mbps(test: Transfer) -> str:
    return f"{(test.speed or 0) * 8 / 1e6:.1f}"


def _finding_of(upload: Transfer) -> Finding:
    if upload.ok:
        return Finding.ok(f"{upload.sent} bytes sent at {_mbps(upload)} Mbit/s through the proxy")
    return Finding.fault(f"{upload.target}: {upload.message()}", "Name another one in `speed.upload.url`.")


_SKIPS = {
    "budget": "skipped: the day's bytes are spent (`speed.daily_bytes`)",
    "busy": "skipped: clients fill the tunnel, a test would measure what they leave",
}


def build(
    settings: Settings, prober: Prober, received: Counter, *, quiet: asyncio.Lock, clock: Clock, dice: Random
) -> SpeedCollector:
    """The collector, its first test within ten seconds."""
    schedule = Schedule(settings.interval, _FIRST, dice)
    return SpeedCollector(settings, prober, received, schedule=schedule, clock=clock, quiet=quiet)
