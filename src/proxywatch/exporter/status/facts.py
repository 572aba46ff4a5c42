"""The tunnel, the exit, the phases and the failures, as far as somebody knows of them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from proxywatch.dante import reason
from proxywatch.dante.report import host_port
from proxywatch.exporter.status.figures import Samples, value
from proxywatch.exporter.status.model import Cause, Destination, Exit, Failure, Phase, Requests, Vpn, Way
from proxywatch.probe.outcome import REASONS, STAGES

Seen = Mapping[str, Any]
_MOST_FAILURES = 12
_WAYS = (
    ("client", "client", "typical", "To clients"),
    ("tunnel", "upstream", "nearest", "To the nearest destination"),
    ("upstream", "upstream", "typical", "To destinations"),
)


def vpn(found: Samples, seen: Seen, reason: str) -> Vpn:
    """The tunnel as its series tell, with the collector's own words.

    Args:
        found: All samples.
        seen: What each collector saw.
        reason: Why nothing is known of the tunnel, when it is not.
    """
    state = next(
        (sample.labels["state"] for sample in found.get("vpn_tunnel_state", ()) if sample.value == 1), None
    )
    if state is None:
        return Vpn(None, None, reason)
    handshakes = [sample.value for sample in found.get("wireguard_peer_last_handshake_seconds", ())]
    words = str(_mapping(seen.get("wireguard")).get("sentence") or state)
    return Vpn(state, value(found, "vpn_connection_status") == 1, words, max(handshakes, default=None))


def leaves(found: Samples) -> Exit | None:
    """The exit as its series tell."""
    infos = found.get("proxy_exit_info")
    if not infos:
        return None
    labels = infos[0].labels
    return Exit(
        ip=labels.get("ip", ""),
        country=labels.get("country", ""),
        city=labels.get("city", ""),
        server=labels.get("server", ""),
        checks={sample.labels["check"]: sample.value == 1 for sample in found.get("proxy_exit_check", ())},
    )


def phases(seen: Seen) -> list[Phase]:
    """The phases of the fastest probe of the last round, if the latency collector tells them."""
    probes = [_mapping(probe) for probe in _mapping(seen.get("latency")).get("probes") or ()]
    successes = [probe for probe in probes if not probe.get("reason")]
    fastest = min(successes, key=lambda probe: float(probe.get("duration") or 0), default={})
    told = _mapping(fastest.get("phases"))
    return [Phase(name, float(told[name])) for name in STAGES if told.get(name) is not None]


def failures(history: object, seen: Seen) -> list[Failure]:
    """The most recent failures of probes and of clients' requests, the last first."""
    probes = _mapping(msgspec.to_builtins(history)).get("failures") or ()
    requests = _report(seen).get("recent_failures") or ()
    failed = [*map(_probe, map(_mapping, probes)), *map(_request, map(_mapping, requests))]
    return sorted(failed, key=lambda failure: failure.at, reverse=True)[:_MOST_FAILURES]


def requests(seen: Seen) -> Requests | None:
    """What the sessions collector counted; None before the first line."""
    report = _report(seen)
    if not report.get("lines"):
        return None
    counts = _mapping(report.get("failures"))
    causes = [Cause(label, reason.REASONS[label], count) for label, count in counts.items()]
    return Requests(
        successful=report.get("successful"),
        failed=report.get("failed"),
        causes=sorted(causes, key=lambda cause: cause.count, reverse=True),
        most_bytes=_destinations(report.get("top_by_bytes")),
        most_failures=_destinations(report.get("top_by_failures")),
        cannot_tell=report.get("cannot_tell") or [],
        unparsed=report.get("unparsed") or 0,
        unparsed_example=report.get("unparsed_example") or "",
    )


def ways(seen: Seen) -> list[Way]:
    """The round trips on both sides, as the tcp collector tells them."""
    sides = _mapping(_mapping(_mapping(seen.get("tcp")).get("report")).get("sides"))
    found = []
    for key, side, field, title in _WAYS:
        told = _mapping(sides.get(side))
        if (seconds := told.get(f"{field}_round_trip_seconds")) is not None:
            lost = told.get("retransmitted_share") if key == side else None
            found.append(Way(key, title, float(seconds), lost))
    return found


def _destinations(told: Any) -> list[Destination]:  # noqa: ANN401 - as a collector's status has it
    return [Destination(host_port(it["destination"]), it["weight"], it["error"]) for it in told or ()]


def _probe(entry: Mapping[str, Any]) -> Failure:
    stage, reason = str(entry.get("stage")), str(entry.get("reason"))
    return Failure(
        at=float(entry.get("at") or 0),
        kind=str(entry.get("kind")),
        target=str(entry.get("target")),
        stage=stage,
        reason=reason,
        words=REASONS.get((stage, reason), ""),
        blame="",
    )


def _request(entry: Mapping[str, Any]) -> Failure:
    return Failure(
        at=float(entry.get("time") or 0),
        kind="request",
        target=host_port(str(entry.get("destination") or "")),
        stage="",
        reason=str(entry.get("reason")),
        words=str(entry.get("text")),
        blame=str(entry.get("blame")),
    )


def _report(seen: Seen) -> dict[str, Any]:
    """What the log says, as dante.report has it; empty where nobody reads one."""
    return _mapping(_mapping(seen.get("sessions")).get("report"))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
