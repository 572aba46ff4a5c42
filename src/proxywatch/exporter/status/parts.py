"""The parts of the status: the tunnel, the exit, the phases and the failures, as far as they are known."""

from proxywatch.dante import totals
from proxywatch.dante.report import Report, host_port
from proxywatch.exporter.collector import latency, tcp, wireguard
from proxywatch.exporter.status.figures import Samples, value
from proxywatch.exporter.status.model import Exit, Failure, Phase, Vpn, Way
from proxywatch.probe.history import Snapshot
from proxywatch.probe.outcome import REASONS, Transfer

_MOST_FAILURES = 12
_CLIENT, _UPSTREAM = "client", "upstream"


def vpn(found: Samples, tunnel: wireguard.Status | None, missing: str) -> Vpn:
    """The tunnel as its series have it, with the collector's own message.

    Args:
        found: All samples.
        tunnel: What the collector saw last.
        missing: Why nothing is known of the tunnel, when it is not.
    """
    states = found.get("vpn_tunnel_state", ())
    state = next((sample.labels["state"] for sample in states if sample.value == 1), None)
    if state is None:
        return Vpn(None, None, missing)
    handshakes = [sample.value for sample in found.get("wireguard_peer_last_handshake_seconds", ())]
    message = tunnel.sentence if tunnel and tunnel.sentence else state
    return Vpn(state, value(found, "vpn_connection_status") == 1, message, max(handshakes, default=None))


def exit_of(found: Samples) -> Exit | None:
    """The exit as its series have it."""
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


def phases(last_round: latency.Status | None) -> list[Phase]:
    """The phases of the fastest probe of the last round."""
    successes = [probe for probe in last_round.probes if probe.ok] if last_round else []
    if not successes:
        return []
    fastest = min(successes, key=lambda probe: probe.duration)
    return [Phase(name, seconds) for name, seconds in fastest.phases.items()]


def failures(history: Snapshot, log: Report | None) -> list[Failure]:
    """The most recent failures of probes and of clients' requests, the last first."""
    failed = [*map(_probe, history.failures), *map(_request, log.recent_failures if log else ())]
    return sorted(failed, key=lambda failure: failure.at, reverse=True)[:_MOST_FAILURES]


def requests(log: Report | None) -> Report | None:
    """What the log's lines came to; None before the first."""
    return log if log is not None and log.lines else None


def ways(kernel: tcp.Status | None) -> list[Way]:
    """The round trips on both sides, by the kernel's account; the least one upstream is about the tunnel's own."""
    sides = kernel.report.sides if kernel and kernel.report else {}
    client, upstream = sides.get(_CLIENT), sides.get(_UPSTREAM)
    found = []
    if client and client.typical_round_trip_seconds is not None:
        found.append(
            Way("client", "To clients", client.typical_round_trip_seconds, client.retransmitted_share)
        )
    if upstream and upstream.nearest_round_trip_seconds is not None:
        found.append(Way("tunnel", "To the nearest destination", upstream.nearest_round_trip_seconds, None))
    if upstream and upstream.typical_round_trip_seconds is not None:
        found.append(
            Way(
                "upstream",
                "To destinations",
                upstream.typical_round_trip_seconds,
                upstream.retransmitted_share,
            )
        )
    return found


def _probe(transfer: Transfer) -> Failure:
    stage, why = transfer.stage or "", transfer.reason or ""
    return Failure(
        at=transfer.at,
        kind=transfer.kind,
        target=transfer.target,
        stage=stage,
        reason=why,
        message=REASONS.get((stage, why), ""),
        blame="",
    )


def _request(failure: totals.Failure) -> Failure:
    return Failure(
        at=failure.time,
        kind="request",
        target=host_port(failure.destination),
        stage="",
        reason=failure.reason,
        message=failure.text,
        blame=failure.blame,
    )
