"""The tunnel, the exit, the phases and the failures, as far as somebody knows of them."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from proxywatch.parse.outcome import REASONS
from proxywatch.registry import Collector
from proxywatch.scrape import Outcome
from proxywatch.status.figures import Samples, missing, value
from proxywatch.status.model import Exit, Failure, Phase, Vpn

_TUNNEL = {
    "absent": "there is no tunnel device",
    "never": "the peer has never answered",
    "fresh": "the peer answers",
    "idle": "idle, and well",
    "rekey_overdue": "the peer owes a handshake",
    "dead": "the peer does not answer any more",
}
_PHASES = ("proxy_connect", "socks", "tls", "first_byte", "transfer")
_MOST_FAILURES = 12


def vpn(found: Samples, outcomes: Mapping[str, Outcome], names: Iterable[str]) -> Vpn:
    """The tunnel as its series tell."""
    state = next(
        (sample.labels["state"] for sample in found.get("vpn_tunnel_state", ()) if sample.value == 1), None
    )
    if state is None:
        return Vpn(None, None, missing("wireguard", outcomes, names))
    handshakes = [sample.value for sample in found.get("wireguard_peer_last_handshake_seconds", ())]
    up = value(found, "vpn_connection_status")
    return Vpn(state, up == 1, _TUNNEL.get(state, state), max(handshakes, default=None))


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


def phases(collectors: Mapping[str, Collector]) -> list[Phase]:
    """The phases of the fastest probe of the last round, if the latency collector tells them."""
    collector = collectors.get("latency")
    seen = _mapping(msgspec.to_builtins(collector.status()) if collector else None)
    probes = [_mapping(probe) for probe in seen.get("probes") or () if not _mapping(probe).get("reason")]
    fastest = min(probes, key=lambda probe: float(probe.get("duration", 0)), default={})
    told = _mapping(fastest.get("phases"))
    return [Phase(name, float(told[name])) for name in _PHASES if told.get(name) is not None]


def failures(history: object) -> list[Failure]:
    """The most recent failures of the history, the last first."""
    told = _mapping(msgspec.to_builtins(history)).get("failures") or ()
    failed = [_failure(_mapping(entry)) for entry in told]
    return sorted(failed, key=lambda failure: failure.at, reverse=True)[:_MOST_FAILURES]


def _failure(entry: Mapping[str, Any]) -> Failure:
    word = {key: str(entry.get(key) or "") for key in ("kind", "target", "stage", "reason", "words", "blame")}
    word["words"] = word["words"] or REASONS.get((word["stage"], word["reason"]), "")
    return Failure(at=float(entry.get("at") or 0), **word)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
