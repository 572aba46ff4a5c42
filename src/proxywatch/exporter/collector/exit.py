"""Where the proxy's traffic comes out, as services on the other side see it, and whether that is right.

Two or more services are asked through the proxy; the address that most of them see is the exit's.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Annotated

import msgspec

from proxywatch.clock import Clock, Moment
from proxywatch.errors import NoData, SourceError
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.probe import exit_check
from proxywatch.probe import identity as exit_identity
from proxywatch.probe.exit_check import Verdict
from proxywatch.probe.identity import Identity
from proxywatch.probe.prober import Prober
from proxywatch.probe.request import Request
from proxywatch.probe.schedule import Interval, Schedule, refuse_haste
from proxywatch.quantity import Duration, Url

INFO = metric.gauge(
    "proxy_exit_info",
    "Always 1: where the proxy's traffic comes out; absent when no service answered in the last round.",
    ["ip", "country", "city", "server"],
)
CHECK = metric.gauge(
    "proxy_exit_check",
    "1 when passed: vpn, an exit of Mullvad's; country, the expected one; not_direct, not this host's own; "
    "no_leak and no_leak_ipv6, nothing leaves beside the tunnel; dns, the proxy resolves names. Absent where "
    "it cannot be judged.",
    ["check"],
)
CHANGES = metric.counter("proxy_exit_changes_total", "How often the exit's address was another than before.")
LAST_SUCCESS = metric.gauge(
    "proxy_exit_last_success_timestamp_seconds", "Unix time at which the exit was last seen; absent before."
)
_FAMILIES = (INFO, CHECK, CHANGES, LAST_SUCCESS)

_FIRST = 5.0
_SLACK = 5.0
_LIMIT = 64 << 10

Positive = Annotated[Duration, msgspec.Meta(gt=0)]


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where traffic should come out.

    Attributes:
        country: The country, by its two letters (se) or its English name; empty expects none.
        mullvad: Whether the exit should be one of Mullvad's; left out, a yes is reported and a no is not.
    """

    country: str = ""
    mullvad: bool | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where traffic comes out.

    Attributes:
        enabled: Whether to ask.
        interval: From one round to the next.
        timeout: The longest that one service may take.
        urls: Services that say who is asking, in JSON, lines of key=value, or with the bare address; the one
            that knows most goes first.
        direct: Whether to ask them without the proxy too, which `not_direct` and the checks for leaks need.
            The services then see this host's own address, moments after the exit's, unless it is firewalled.
        leaks: Whether what gets out beside the tunnel is a leak; false where the proxy alone is to use it.
        expect: Where traffic should come out.
    """

    enabled: bool = True
    interval: Interval = Duration(300)
    timeout: Positive = Duration(10)
    urls: tuple[Url, ...] = (
        Url("https://am.i.mullvad.net/json"),
        Url("https://www.cloudflare.com/cdn-cgi/trace"),
        Url("https://api64.ipify.org/?format=json"),
    )
    direct: bool = False
    leaks: bool = True
    expect: Expect = Expect()

    def __post_init__(self) -> None:
        """Refuse an empty list, and haste."""
        if not self.urls:
            raise ValueError("urls: expected at least one")
        refuse_haste(self.interval, self.urls)


class Check(msgspec.Struct, frozen=True):
    """One check: passed, failed, or None where it cannot be judged; and why."""

    name: str
    passed: bool | None
    reason: str


class Status(msgspec.Struct, frozen=True):
    """The exit as it was last seen.

    Attributes:
        at: Unix time.
        identity: Whom the services saw.
        answers: How many services saw that address, of how many that answered.
        checks: All of them.
        changes: How often the address changed since the start.
    """

    at: float
    identity: Identity
    answers: tuple[int, int]
    checks: tuple[Check, ...]
    changes: int


class ExitCollector:
    """A watching collector."""

    name = "exit"

    def __init__(
        self,
        settings: Settings,
        prober: Prober,
        *,
        tunnel: Callable[[], bool],
        schedule: Schedule,
        clock: Clock,
    ) -> None:
        """Prepare; nothing is sent before the first round.

        Args:
            settings: Its section.
            prober: Asks, through the proxy and beside it.
            tunnel: Whether the VPN's device is on this host.
            schedule: When rounds are due.
            clock: For the stamps.
        """
        self.timeout = 2 * settings.timeout + _SLACK
        self._settings = settings
        self._prober = prober
        self._tunnel = tunnel
        self._schedule = schedule
        self._clock = clock
        self._seen: Status | None = None
        self._seen_at: Moment | None = None
        self._fresh = False
        self._changes = 0

    def describe(self) -> Sequence[Family]:
        """The exit, the checks, and the changes."""
        return _FAMILIES

    async def due(self) -> None:
        """Wait for the next round."""
        await self._clock.sleep_until(self._schedule.next(self._clock.monotonic()))

    async def update(self) -> None:
        """Ask the services through the proxy, then beside it.

        Raises:
            NoData: None answered through the proxy.
            SourceError: The proxy's password cannot be read.
        """
        fresh = False
        try:
            seen = await self._look()
            if self._seen and self._seen.identity.address != seen.identity.address:
                self._changes += 1
            self._seen = msgspec.structs.replace(seen, changes=self._changes)
            self._seen_at = Moment(seen.at, self._clock.monotonic())
            fresh = True
        finally:
            self._fresh = fresh

    async def _look(self) -> Status:
        answers = await asyncio.gather(
            *(self._prober.ask(self._request(url), exit_identity.parse) for url in self._urls)
        )
        identities = [identity for _, identity in answers if identity is not None]
        if not identities:
            raise NoData("; ".join(dict.fromkeys(transfer.message() for transfer, _ in answers)))
        identity = exit_identity.agree(identities)
        agreed = sum(each.address == identity.address for each in identities)
        checks = await self._check(identity)
        return Status(self._clock.now(), identity, (agreed, len(identities)), checks, self._changes)

    @property
    def _urls(self) -> Sequence[str]:
        return self._settings.urls

    def _request(self, url: str, family: int = 0) -> Request:
        return Request("exit", url, self._settings.timeout, _LIMIT, keep=True, family=family)

    async def _check(self, seen: Identity) -> tuple[Check, ...]:
        tried, tunnel = self._settings.direct, self._tunnel()
        direct, direct6 = await asyncio.gather(self._directly(4), self._directly(6))
        six = ":" in seen.address
        leak = partial(exit_check.leak, seen, tried=tried, barred=self._settings.leaks, tunnel=tunnel)
        expect = self._settings.expect
        verdicts: dict[str, Verdict] = {
            "vpn": exit_check.vpn(seen, expected=expect.mullvad),
            "country": exit_check.country(seen, expect.country),
            "not_direct": exit_check.not_direct(seen, direct6 if six else direct, tried=tried),
            "no_leak": leak(direct, same_family=not six),
            "no_leak_ipv6": leak(direct6, same_family=six),
            "dns": exit_check.dns(self._prober.proxy.scheme),
        }
        return tuple(Check(name, *verdict) for name, verdict in verdicts.items())

    async def _directly(self, family: int) -> Identity | None:
        """Who this host is without the proxy; None when nothing gets out."""
        if not self._settings.direct:
            return None
        requests = [self._request(url, family) for url in self._urls]
        answers = await asyncio.gather(
            *(self._prober.ask_directly(each, exit_identity.parse) for each in requests)
        )
        identities = [identity for identity in answers if identity is not None]
        return exit_identity.agree(identities) if identities else None

    def collect(self) -> Iterator[Metric]:
        """The exit of the last round that saw one, while it is fresh; the counts since the start."""
        seen = self._seen if self._fresh else None
        yield INFO.values({_labels(seen.identity): 1} if seen else {})
        yield CHECK.values(
            {check.name: check.passed for check in seen.checks if check.passed is not None} if seen else {}
        )
        yield CHANGES.value(self._changes)
        yield LAST_SUCCESS.value(self._seen_at.shown(self._clock) if self._seen_at else None)

    async def examine(self) -> Sequence[Finding]:
        """Where does traffic come out, and is that right?"""
        try:
            seen = await self._look()
        except NoData as error:
            return [
                Finding.fault(
                    f"no exit to be seen: {error}",
                    "See whether the latency probes get through; if so, name other services in `exit.urls`.",
                )
            ]
        except SourceError as error:
            return [Finding.fault(str(error), _PASSWORD_FIX)]
        where = ", ".join(filter(None, (seen.identity.city, seen.identity.country, seen.identity.server)))
        exit_ = Finding.ok(f"traffic comes out at {seen.identity.address} ({where or 'somewhere'})")
        return [exit_, *map(_finding, seen.checks)]

    def status(self) -> Status | None:
        """The exit as it was last seen; None before."""
        return self._seen


def _labels(identity: Identity) -> tuple[str, str, str, str]:
    return identity.address, identity.code or identity.country, identity.city, identity.server


def _finding(check: Check) -> Finding:
    text = f"{check.name}: {check.reason}"
    if check.passed is None:
        return Finding.unknown(f"not judged, {text}")
    return Finding.ok(text) if check.passed else Finding.fault(text, _FIXES[check.name])


_PASSWORD_FIX = "Correct `proxy.password_file`, or the file's permissions."  # noqa: S105 - a hint
_FIXES = {
    "vpn": "Look at the tunnel: the proxy must dial through the VPN's device (`external:` in danted.conf).",
    "country": "Choose a relay in that country, or correct `exit.expect.country`.",
    "not_direct": "Have the proxy dial through the VPN's device (`external:` in danted.conf).",
    "no_leak": "Add a kill switch: allow nothing but WireGuard's own packets to leave beside the device.",
    "no_leak_ipv6": "Route IPv6 into the tunnel as well, or disable it.",
    "dns": "Write socks5h:// in `proxy.url`.",
}


def build(
    settings: Settings, prober: Prober, *, tunnel: Callable[[], bool], clock: Clock, dice: Random
) -> ExitCollector:
    """The collector, its first round within five seconds."""
    schedule = Schedule(settings.interval, _FIRST, dice)
    return ExitCollector(settings, prober, tunnel=tunnel, schedule=schedule, clock=clock)
