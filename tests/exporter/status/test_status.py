"""The status: the same numbers as the metrics, graded, concluded, and told in a terminal."""

import asyncio
import json
import os
import re
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import msgspec
import pytest

from proxywatch.dante.report import Cause, Destination, Report, host_port
from proxywatch.dante.totals import Failure
from proxywatch.errors import NoData, SourceError
from proxywatch.exporter import terminal
from proxywatch.exporter.collector import latency, sessions, tcp
from proxywatch.exporter.runner import Scrape
from proxywatch.exporter.runner import Settings as ScrapeSettings
from proxywatch.exporter.status import Board, schema
from proxywatch.exporter.status.figures import Scale, samples
from proxywatch.exporter.status.model import Points, Status
from proxywatch.metrics import family as metric
from proxywatch.metrics.registry import Registry
from proxywatch.probe.history import History
from proxywatch.probe.request import Request
from proxywatch.runtime.reload import Reloads
from proxywatch.tcp.report import Report as TcpReport
from proxywatch.tcp.report import Side
from support.fakes import FakeClock
from support.probing import failure, success
from support.publishers import Puppet
from support.reports import report

SCHEMA = Path(__file__).parents[3] / "docs" / "status.schema.json"
LATENCY = metric.gauge("proxy_latency_ms", "Latency.")
RATE = metric.gauge("proxy_success_rate_percent", "Rate.")
SPEED = metric.gauge("proxy_download_speed_mbps", "Speed.")
ACTIVE = metric.gauge("proxy_active_connections", "Active.")
BYTES = metric.counter("proxy_bytes_transferred_total", "Bytes.")
STATE = metric.gauge("vpn_tunnel_state", "State.", ["state"])
UP = metric.gauge("vpn_connection_status", "Up.")
HANDSHAKE = metric.gauge("wireguard_peer_last_handshake_seconds", "Time.", ["device", "public_key"])
INFO = metric.gauge("proxy_exit_info", "Exit.", ["ip", "country", "city", "server"])
CHECK = metric.gauge("proxy_exit_check", "Check.", ["check"])


REPORT = report(
    lines=70,
    successful=9,
    failed=3,
    causes=[Cause("socks_rule", "policy", 2), Cause("refused", "destination", 1)],
    most_bytes=[Destination("[2001:db8::1]:443", 5000, 0)],
    most_failures=[Destination("b:25", 2, 1)],
    cannot_tell=["timeouts"],
    unparsed=2,
    unparsed_example="what is this",
)


def log(report: Report) -> sessions.Status:
    """The sessions collector's status with that report."""
    return sessions.Status("/var/log/danted.log", 0, 0.1, "", report)


class Rig:
    """A board over puppets, all of them well."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = Registry({"proxy_name": "golden-crab"})
        now = self.clock.now()
        target = Request("latency", "http://a/", 5.0, 65536)
        refused = Failure(now - 30, "socks_rule", "policy", "c.1", "b.25", "no")
        self.history = History()
        self.history.record(failure(target, "socks", "timeout", at=now - 60))
        probes = (failure(target, "proxy_connect", "refused"), success(target, 0.052))
        self.round = latency.Status(now, "target", 0.052, probes, 0)
        self.latency = Puppet("latency", {LATENCY: 142.0}, self.round)
        self.reloads = Reloads()
        report = msgspec.structs.replace(REPORT, recent_failures=[refused])
        self.sessions = Puppet("sessions", {RATE: 99.5}, log(report))
        self.speed = Puppet("speed", {SPEED: 50.0})
        self.active = Puppet("active", {ACTIVE: 3})
        self.interface = Puppet("interface", {BYTES: 1000})
        self.wireguard = Puppet(
            "wireguard",
            {
                STATE: {"fresh": 1, "dead": 0},
                UP: 1,
                HANDSHAKE: {("wg0", "k"): now - 20, ("wg0", "other"): now - 900},
            },
        )
        where = ("185.0.2.1", "Sweden", "Stockholm", "se-sto-wg-001")
        self.exit = Puppet("exit", {INFO: {where: 1}, CHECK: {"vpn": 1, "country": 1, "not_direct": 1}})
        for puppet in vars(self).copy().values():
            if isinstance(puppet, Puppet):
                self.registry.register(puppet)
        self.scrape = Scrape(self.registry, ScrapeSettings(), self.clock)
        self.registry.register(self.scrape)
        self.board = Board(self.registry, self.scrape, self.clock, self.history, self.reloads)

    async def status(self) -> Status:
        for collector in self.registry.collectors.values():
            await self.scrape.update(collector)
        return valid(self.board.status())


def valid(status: Status) -> Status:
    """The same, once it has been held against the schema that is published."""
    jsonschema.validate(json.loads(msgspec.json.encode(status)), json.loads(SCHEMA.read_text()))
    return status


async def test_all_is_well() -> None:
    """The numbers are those of the series; every collector has its line; the verdict says the place."""
    status = await Rig().status()
    assert (status.verdict.level, status.verdict.message) == ("good", "All is well")
    assert "142 ms by way of Stockholm, Sweden" in status.verdict.detail
    figures = {figure.key: figure for figure in status.figures}
    assert (figures["latency"].value, figures["latency"].grade) == (142.0, "good")
    assert figures["success_rate"].value == 99.5
    assert status.vpn.up
    assert status.vpn.last_handshake == Rig().clock.now() - 20, "the latest of all peers"
    assert status.exit is not None
    assert status.exit.checks == {"vpn": True, "country": True, "not_direct": True}
    assert [phase.name for phase in status.phases] == ["proxy_connect", "socks", "first_byte", "transfer"]
    assert {collector.state for collector in status.collectors} == {"ok"}
    assert [failure.kind for failure in status.failures] == ["request", "latency"]
    assert (status.failures[0].blame, status.failures[0].target) == ("policy", "b:25")
    assert "handshake" in status.failures[1].message


@pytest.mark.parametrize(
    ("break_it", "level", "words"),
    [
        (lambda rig: rig.wireguard.families.update({STATE: {"dead": 1}, UP: 0}), "bad", "The VPN is down"),
        (
            lambda rig: rig.exit.families.update({CHECK: {"not_direct": 0}}),
            "bad",
            "Traffic leaks past the VPN",
        ),
        (
            lambda rig: rig.exit.families.update({CHECK: {"vpn": 0}}),
            "bad",
            "Traffic does not leave through the VPN",
        ),
        (
            lambda rig: rig.exit.families.update({CHECK: {"no_leak": 0}}),
            "bad",
            "Traffic leaks past the VPN",
        ),
        (
            lambda rig: rig.exit.families.update({CHECK: {"no_leak_ipv6": 0}}),
            "bad",
            "IPv6 leaks past the VPN",
        ),
        (
            lambda rig: rig.exit.families.update({CHECK: {"dns": 0}}),
            "bad",
            "The proxy resolves no names",
        ),
        (
            lambda rig: rig.exit.families.update({CHECK: {"country": 0}}),
            "warning",
            "The exit is in the wrong country",
        ),
        (lambda rig: setattr(rig.latency, "error", NoData("no answer")), "bad", "The proxy does not work"),
        (lambda rig: rig.sessions.families.update({RATE: 50.0}), "bad", "Many requests fail"),
        (lambda rig: rig.sessions.families.update({RATE: 94.0}), "warning", "Some requests fail"),
        (lambda rig: rig.latency.families.update({LATENCY: 700.0}), "warning", "The proxy is slow"),
        (lambda rig: rig.speed.families.update({SPEED: 3.0}), "warning", "Downloads are slow"),
        (lambda rig: rig.latency.families.update({LATENCY: None}), "unknown", "Not measured yet"),
        (lambda rig: rig.registry.unregister(rig.wireguard), "good", "All is well"),
    ],
)
async def test_the_worst_is_said_first(break_it: Any, level: str, words: str) -> None:
    """One thing that is wrong at a time."""
    rig = Rig()
    break_it(rig)
    verdict = (await rig.status()).verdict
    assert (verdict.level, verdict.message) == (level, words)
    assert bool(verdict.advice) == (level in ("bad", "warning")), "what to do, when something has to be done"


async def test_a_captive_portal_is_called_one() -> None:
    """When all targets that were reached answered with something else."""
    rig = Rig()
    target = Request("latency", "http://a/", 5.0, 65536)
    rig.latency.error = NoData("transfer: the status is not the one expected")
    answers = [failure(target, "transfer", "wrong_status"), failure(target, "transfer", "wrong_body")]
    unreached = failure(target, "socks", "timeout")
    for probes, captive in (
        (answers, True),
        ([*answers, unreached], True),
        ([unreached], False),
        ([*answers, success(target)], False),
    ):
        rig.latency.told = msgspec.structs.replace(rig.round, probes=tuple(probes))
        verdict = (await rig.status()).verdict
        assert ("captive portal" in verdict.message) == captive


async def test_refused_settings_are_shown() -> None:
    """What runs is not what the file says; the page and the terminal show why."""
    rig = Rig()
    assert "settings" not in terminal.render(await rig.status(), colour=False)
    rig.reloads.successful, rig.reloads.fault = False, "proxywatch.yaml:3 latency.interval: expected more"
    status = await rig.status()
    assert status.settings_fault == rig.reloads.fault
    text = terminal.render(status, colour=False)
    assert "The settings that were read last were refused" in text
    assert "proxywatch.yaml:3 latency.interval" in text


async def test_what_all_requests_came_to() -> None:
    """Why they failed, the most frequent first; where they went; nothing without a log."""
    rig = Rig()
    requests = (await rig.status()).requests
    assert requests is not None
    assert [(cause.reason, cause.blame, cause.count) for cause in requests.causes] == [
        ("socks_rule", "policy", 2),
        ("refused", "destination", 1),
    ]
    assert [it.target for it in (*requests.most_bytes, *requests.most_failures)] == [
        "[2001:db8::1]:443",
        "b:25",
    ]
    assert (requests.unparsed, requests.unparsed_example) == (2, "what is this")
    rig.sessions.told = log(msgspec.structs.replace(REPORT, lines=0))
    assert (await rig.status()).requests is None


async def test_the_tunnel_comes_before_what_follows_from_it() -> None:
    """A tunnel that is down also leaks; that the proxy answers all the same is said when it does."""
    rig = Rig()
    rig.wireguard.families.update({STATE: {"dead": 1}, UP: 0})
    rig.exit.families.update({CHECK: {"not_direct": 0, "no_leak": 0}})
    verdict = (await rig.status()).verdict
    assert verdict.message == "The VPN is down"
    assert "another way" in verdict.detail
    rig.latency.error = NoData("no answer")
    verdict = (await rig.status()).verdict
    assert verdict.message == "The VPN is down"
    assert "another way" not in verdict.detail


async def test_what_is_missing_says_why() -> None:
    """Switched off, not yet run, nothing to measure, unreadable."""
    rig = Rig()
    rig.registry.unregister(rig.speed)
    rig.sessions.error = SourceError("no such log")
    rig.sessions.families[RATE] = None
    rig.wireguard.error = NoData("no device wg0")
    rig.wireguard.families = {}
    status = await rig.status()
    figures = {figure.key: figure for figure in status.figures}
    assert (figures["speed"].value, figures["speed"].reason) == (None, "speed is switched off")
    assert (figures["success_rate"].grade, figures["success_rate"].reason) == ("unknown", "no such log")
    assert (status.vpn.up, status.vpn.message) == (None, "no device wg0")
    states = {collector.name: collector.state for collector in status.collectors}
    assert (states["sessions"], states["wireguard"]) == ("failing", "nothing")
    assert valid(Rig().board.status()).collectors[0].state == "waiting"


async def test_trends_follow_the_figures() -> None:
    """A point every few seconds; the traffic is the growth of the total."""
    rig = Rig()
    for step in range(4):
        rig.interface.families[BYTES] = 1000 * step
        rig.board.note({name: list(family) for name, family in samples(rig.registry.collect()).items()})
        await rig.clock.advance(5)
    trends = rig.board.status().trends
    assert trends["latency"].values == [142.0] * 4
    assert trends["traffic"].values == [None, 200.0, 200.0, 200.0]
    rig.interface.families[BYTES] = 0
    rig.board.note(samples(rig.registry.collect()))
    assert rig.board.status().trends["traffic"].values[-1] == 0, "a total that begins anew"


async def test_trends_have_no_gaps_on_a_busy_machine() -> None:
    """Every step has its point, though each sample is late by something else."""
    rig, dice = Rig(), Random(1)
    wait = rig.clock.sleep_until
    rig.clock.sleep_until = lambda deadline: wait(deadline + dice.uniform(0, 2))  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rig.board.sample())
        await rig.clock.advance(600)
        task.cancel()
    assert len(rig.board.status().trends["latency"].values) > 100
    assert set(rig.board.status().trends["latency"].values) == {142.0}


@pytest.mark.parametrize(
    ("bounds", "value", "grade"),
    [
        ((200, 500, 1000), 199, "good"),
        ((200, 500, 1000), 200, "fair"),
        ((200, 500, 1000), 999, "poor"),
        ((200, 500, 1000), 1000, "bad"),
        ((99, 95, 90), 99, "good"),
        ((99, 95, 90), 98.9, "fair"),
        ((99, 95, 90), 90, "poor"),
        ((99, 95, 90), 89.9, "bad"),
    ],
)
def test_grades(bounds: tuple[float, float, float], value: float, grade: str) -> None:
    """Less is better when the bounds rise, more when they fall."""
    assert Scale(bounds).grade(value) == grade


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("web.test.25", "web.test:25"),
        ("203.0.113.10.1", "203.0.113.10:1"),
        ("2001:db8::1.443", "[2001:db8::1]:443"),
        ("b:25", "b:25"),
        ("", ""),
    ],
)
def test_destinations_are_written_as_people_do(told: str, shown: str) -> None:
    """Dante has a dot before the port."""
    assert host_port(told) == shown


def test_the_published_schema_is_fresh() -> None:
    """docs/status.schema.json is what the code says; TEST_GOLDEN=write renews it."""
    if os.environ.get("TEST_GOLDEN") == "write":
        SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n")
    assert json.loads(SCHEMA.read_text()) == schema()


async def test_a_terminal_shows_the_same() -> None:
    """Every figure's title and value, every collector, every failure; in colour when asked for."""
    status = await Rig().status()
    text = terminal.render(status, colour=False)
    for figure in status.figures:
        value = "-" if figure.value is None else f"{figure.value:,.4g}"
        assert re.search(rf"{figure.title} +{value}", text), figure
    for collector in status.collectors:
        assert f"● {collector.name} " in text
    assert "policy: no: b:25" in text
    for words in (
        "2  policy: socks_rule",
        "2  b:25",
        "5,000  [2001:db8::1]:443",
        "timeouts",
        "'what is this'",
    ):
        assert words in text
    assert "\033" not in text
    assert re.sub(r"\033\[\d+m", "", terminal.render(status, colour=True)) == text


async def test_a_terminal_is_shown_text_alone() -> None:
    """An exporter that is asked may be hostile; so may a client that chooses its destination."""
    evil = "\x1b]0;x\x07\x9b2J\r\u202e\n"
    rig = Rig()
    hostile = Failure(rig.clock.now(), "refused", "destination", "c.1", f"{evil}.25", evil)
    report = msgspec.structs.replace(
        REPORT,
        recent_failures=[hostile],
        most_bytes=[Destination(f"{evil}.443", 1, 0)],
        unparsed_example=evil,
    )
    rig.sessions.told = log(report)
    rig.reloads.fault = f"x.yaml:1 {evil}"
    status = msgspec.structs.replace(await rig.status(), name=evil)
    for line in terminal.render(status, colour=False).splitlines():
        assert line.isprintable()
    huge = msgspec.structs.replace(status, trends={"latency": Points(5.0, [-1.7e308, 1.7e308, None])})
    assert terminal.render(huge, colour=False)


async def test_a_terminal_is_coloured_where_colour_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, unless its owner wants none; not in a file."""
    status = await Rig().status()
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033" not in terminal.render(status)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\033" in terminal.render(status)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in terminal.render(status)


def test_a_line_of_bars_fills_its_range() -> None:
    """From the lowest to the highest that there is, a blank for nothing."""
    assert terminal._sparkline([100.0, None, 101.0, 100.5]) == "▁ █▅"
    assert terminal._sparkline([7.0, 7.0]) == "▁▁"
    assert terminal._sparkline([]) == ""


async def test_a_terminal_bears_an_empty_status() -> None:
    """A moment after the start, with everything switched off."""
    clock = FakeClock()
    registry = Registry({"proxy_name": "empty"})
    board = Board(registry, Scrape(registry, ScrapeSettings(), clock), clock, History(), Reloads())
    text = terminal.render(valid(board.status()), colour=False)
    assert "latency is switched off" in text
    assert "not watched" in text


def test_fetch_says_what_is_wrong() -> None:
    """Nobody there, or a URL that is none."""
    with pytest.raises(SourceError, match="refused"):
        terminal.fetch("http://127.0.0.1:1")
    with pytest.raises(SourceError, match=r"such as http://127\.0\.0\.1:9090"):
        terminal.fetch("ftp://127.0.0.1/")
    with pytest.raises(SourceError, match="No such file"):
        terminal.fetch("unix:/nowhere/at/all")


def side(typical: float, nearest: float, lost: float | None) -> Side:
    """A side of whose connections only the round trips matter."""
    return Side(0, 0, {}, 0, 0, None, None, typical, nearest, None, lost, None)


def tcp_report(sides: dict[str, Side]) -> TcpReport:
    return TcpReport("all", "", sides, {}, 0)


async def test_the_way_from_clients_to_destinations() -> None:
    """Beside each other: to clients, to the nearest destination, to all of them; as far as they are known."""
    rig = Rig()
    assert (await rig.status()).ways == []
    kernel = tcp.Status(
        1080, 0, tcp_report({"client": side(0.004, 0.001, 0.02), "upstream": side(0.08, 0.03, None)})
    )
    rig.registry.register(Puppet("tcp", {}, kernel))
    status = await rig.status()
    assert [(way.key, way.seconds, way.lost) for way in status.ways] == [
        ("client", 0.004, 0.02),
        ("tunnel", 0.03, None),
        ("upstream", 0.08, None),
    ]
    shown = terminal.render(status, colour=False)
    assert "to clients 4.0 ms, 2 % sent again" in shown
    assert "to the nearest destination 30.0 ms" in shown
