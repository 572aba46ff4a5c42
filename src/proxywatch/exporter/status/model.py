"""The shape of /api/v1/status, which the page and the terminal show; the schema is made from it."""

from typing import Any, Literal

from msgspec import Struct

from proxywatch.dante.report import Report

State = Literal["ok", "nothing", "failing", "waiting"]
Level = Literal["good", "warning", "bad", "unknown"]
Grade = Literal["good", "fair", "poor", "bad", "unknown"]


class Verdict(Struct, frozen=True):
    """The verdict in a line.

    Attributes:
        level: How it is.
        message: What is so, in a sentence.
        detail: What follows from it or stands behind it; may be empty.
        advice: What to do about it; empty when nothing has to be done.
    """

    level: Level
    message: str
    detail: str = ""
    advice: str = ""


class Figure(Struct, frozen=True):
    """One number.

    Attributes:
        key: Which; also the key of its trend.
        metric: The series on /metrics that says the same.
        title: For people.
        value: None when it was not measured.
        unit: `ms`, `%`, `Mbps`, `s`, `/min`, `bytes`, or empty for a count.
        grade: On the scale of that number; `good` for a number without one, `unknown` without a value.
        reason: Why there is no value; empty when there is one.
    """

    key: str
    metric: str
    title: str
    value: float | None
    unit: str
    grade: Grade
    reason: str = ""


class Phase(Struct, frozen=True):
    """A part of the last probe, in seconds."""

    name: str
    seconds: float


class Way(Struct, frozen=True):
    """A part of the way between clients and destinations, as the kernel measures it.

    Attributes:
        key: `client`, from clients to the proxy; `tunnel`, from the proxy to the nearest destination, so at
            most that of the tunnel; `upstream`, from the proxy to destinations, the tunnel included.
        title: For people.
        seconds: Round trip: the median of the last 100 connections, for `tunnel` the least.
        lost: Share of segments that were sent again; None where none was sent.
    """

    key: str
    title: str
    seconds: float
    lost: float | None


class Vpn(Struct, frozen=True):
    """The tunnel.

    Attributes:
        state: As in `vpn_tunnel_state`; None when nobody watches it.
        up: Whether it carries traffic.
        message: In a sentence.
        last_handshake: Unix time; None before the first.
    """

    state: str | None
    up: bool | None
    message: str
    last_handshake: float | None = None


class Exit(Struct, frozen=True):
    """Where the traffic comes out.

    Attributes:
        ip: Its address.
        country: By its two letters, or by name; empty when unknown.
        city: By name; empty when unknown.
        server: The relay; empty when unknown.
        checks: What was verified, as in `proxy_exit_check`: `vpn`, `country`, `not_direct`, `no_leak`,
            `no_leak_ipv6`, `dns`.
    """

    ip: str
    country: str
    city: str
    server: str
    checks: dict[str, bool]


class CollectorState(Struct, frozen=True):
    """What one collector sees or lacks.

    Attributes:
        name: Which.
        state: `ok`; `nothing`, it found nothing to measure; `failing`; `waiting`, it has not run yet.
        message: Why it is not `ok`; empty when it is.
        duration_seconds: Of its last update.
        last_success: Unix time; None before the first.
        failures: In a row.
        seen: What it saw last, in its own shape; null before the first time.
    """

    name: str
    state: State
    message: str
    duration_seconds: float | None
    last_success: float | None
    failures: int
    seen: Any


class Failure(Struct, frozen=True):
    """One recent failure of a probe or a client's request.

    Attributes:
        at: Unix time.
        kind: Of what: `latency`, `speed`, `exit`, or `request` for a client's own.
        target: What was requested; empty when unknown.
        stage: Where it broke.
        reason: Why, from a closed list.
        message: Why, in a sentence.
        blame: Whose fault: `client`, `policy`, `proxy`, `tunnel` or `destination`; empty when unknown.
    """

    at: float
    kind: str
    target: str
    stage: str
    reason: str
    message: str
    blame: str


class Points(Struct, frozen=True):
    """A trend: the mean of each step of time, oldest first, up to now; null where nothing was measured."""

    step_seconds: float
    values: list[float | None]


class Status(Struct, frozen=True):
    """Everything that the page shows.

    Attributes:
        name: The proxy's.
        version: Of proxywatch.
        time: Unix time of this answer.
        started: Unix time at which the exporter started.
        verdict: The verdict in a line.
        vpn: The tunnel.
        exit: Where the traffic comes out; None when that is not known.
        figures: The numbers, in the order of the page.
        phases: Of the last probe that succeeded; empty when there was none.
        collectors: Who sees what.
        failures: The most recent first.
        requests: What all of them came to; None before a line of Dante's log was read.
        trends: By a figure's key.
        health: Where the health port listens, as the settings write addresses.
        settings_fault: Why the settings that were read last are not in force; empty when they are.
        ways: From clients to destinations; empty where the kernel's account of connections is not known.
    """

    name: str
    version: str
    time: float
    started: float
    verdict: Verdict
    vpn: Vpn
    exit: Exit | None
    figures: list[Figure]
    phases: list[Phase]
    collectors: list[CollectorState]
    failures: list[Failure]
    requests: Report | None
    trends: dict[str, Points]
    settings_fault: str = ""
    health: list[str] = []
    ways: list[Way] = []
