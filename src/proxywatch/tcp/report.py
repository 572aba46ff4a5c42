"""What is said of a proxy's connections: the status, and which sides can be told at all."""

from collections.abc import Mapping

import msgspec

from proxywatch.distribution import Distribution
from proxywatch.tcp.connections import Connections
from proxywatch.tcp.sides import Scope
from proxywatch.tcp.totals import CLIENT, UPSTREAM, Totals

_ENOUGH = 20  # clients that were served, and not one connection to a destination
_ELSEWHERE = (
    "clients were served, and no connection to a destination was seen: the proxy has its network within "
    "itself (as wireproxy), or in another namespace"
)
_SHARED = (
    "the network namespace is a host's: connections to destinations that end between two looks cannot be "
    "told from those of other programs"
)
_OFF = "connections to destinations are not counted (`tcp.upstream: off`)"


class Side(msgspec.Struct, frozen=True):
    """One side; a mean is of the connections that ended, and a share is None before the first segment.

    `typical_` and `nearest_round_trip_seconds` are the median and the least of the last 100 connections.
    """

    open: int
    opened: int
    closed: dict[str, int]
    received_bytes: int
    sent_bytes: int
    mean_round_trip_seconds: float | None
    mean_minimum_round_trip_seconds: float | None
    typical_round_trip_seconds: float | None
    nearest_round_trip_seconds: float | None
    mean_duration_seconds: float | None
    retransmitted_share: float | None
    out_of_order_share: float | None


class Report(msgspec.Struct, frozen=True):
    """The proxy's connections as the kernel counts them.

    Attributes:
        upstream: How those to destinations are told: `all`, `owner` or `off`.
        note: What cannot be told, and why; empty when all can.
        sides: `client` and `upstream`, as far as they are known.
        missed: As the metric `proxy_tcp_missed_total`.
        probes: Connections to destinations that were taken for those of our own probes.
    """

    upstream: str
    note: str
    sides: dict[str, Side]
    missed: dict[str, int]
    probes: int


def known_sides(connections: Connections, scope: Scope) -> dict[str, Totals]:
    """The sides whose connections can be told from others'."""
    hidden = note(connections, scope) in (_OFF, _ELSEWHERE)
    return {side: totals for side, totals in connections.totals.items() if side == CLIENT or not hidden}


def note(connections: Connections, scope: Scope) -> str:
    """What cannot be told, and why; empty when all can."""
    client, upstream = connections.totals[CLIENT], connections.totals[UPSTREAM]
    if scope == "off":
        return _OFF
    served = client.closed["fin"] >= _ENOUGH and client.received and client.sent
    if served and not upstream.opened and not connections.unattributed and not connections.open(UPSTREAM):
        return _ELSEWHERE
    return _SHARED if scope == "owner" else ""


def report_of(connections: Connections, scope: Scope, missed: Mapping[str, int]) -> Report:
    """The report."""
    return Report(
        upstream=scope,
        note=note(connections, scope),
        sides={
            name: _side(totals, connections.open(name))
            for name, totals in known_sides(connections, scope).items()
        },
        missed=dict(missed),
        probes=connections.probes.matched,
    )


def _side(totals: Totals, living: int) -> Side:
    typical, nearest = totals.last_round_trips() or (None, None)
    return Side(
        open=living,
        opened=totals.opened,
        closed=dict(totals.closed),
        received_bytes=totals.received,
        sent_bytes=totals.sent,
        mean_round_trip_seconds=_mean(totals.round_trips),
        mean_minimum_round_trip_seconds=_mean(totals.minimum_round_trips),
        typical_round_trip_seconds=typical,
        nearest_round_trip_seconds=nearest,
        mean_duration_seconds=totals.mean_duration(),
        retransmitted_share=_share(totals.retransmitted, totals.segments),
        out_of_order_share=_share(totals.out_of_order, totals.segments_received),
    )


def _mean(distribution: Distribution) -> float | None:
    return distribution.sum / distribution.count if distribution.count else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
