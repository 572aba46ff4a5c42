"""What a sidecar's /metrics says about its node.

Any exporter with the series below will do: proxywatch's own, or an older one that has only the first five. Each
series must be there once, as one sidecar stands beside one proxy: an exposition of several proxies has no one reading
and is refused. A series that is absent gives no fact; a value that no fact can have (NaN, a negative latency) is passed
over in the same way, and the other series still count.

    proxy_latency_ms                              proxy_latency_ms
    proxy_success_rate_percent                    success_rate_percent
    proxy_download_speed_mbps                     speed_mbps
    proxy_active_connections                      connections
    vpn_connection_status                         tunnel_up
    proxy_probe_success{target}                   reached: whether any request of its own got through
    proxy_probe_last_success_timestamp_seconds    when one last did
    proxy_exit_check{check="not_direct"}          not_direct
    proxy_exit_info{ip, country}                  exit_ip, exit_country; exit_country_ipv6 for an IPv6 address
    proxy_exit_last_success_timestamp_seconds     when the exit was seen; without it there is no exit fact
    proxy_pod_cpu_seconds_total                   cpu_percent, from two readings
    proxy_process_cpu_seconds_total{program}      the same, summed, where the pod's is absent
    proxy_pod_memory_bytes                        memory_mb
    proxy_process_resident_memory_bytes{program}  the same, summed, where the pod's is absent

Only lines that begin with one of these names are parsed, so the cost does not grow with what else is published.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from proxywatch.balancer.choosing.fact import Fact, Value, read
from proxywatch.errors import ParseError

_NUMBERS = {
    "proxy_latency_ms": "proxy_latency_ms",
    "proxy_success_rate_percent": "success_rate_percent",
    "proxy_download_speed_mbps": "speed_mbps",
    "proxy_active_connections": "connections",
    "vpn_connection_status": "tunnel_up",
}
_REACHED = ("proxy_probe_success", "proxy_probe_last_success_timestamp_seconds")
_SEEN = "proxy_exit_last_success_timestamp_seconds"
_CPU = ("proxy_pod_cpu_seconds_total", "proxy_process_cpu_seconds_total")
_MEMORY = ("proxy_pod_memory_bytes", "proxy_process_resident_memory_bytes")
_WANTED = (*_NUMBERS, *_REACHED, _SEEN, "proxy_exit_info", "proxy_exit_check", *_CPU, *_MEMORY)
_LINE = re.compile(rf"^(?:{'|'.join(_WANTED)})[{{ \t].*$", re.MULTILINE)
_MOST_LINES = 200
_LONGEST_LINE = 4096


class Sample(NamedTuple):
    """One sample."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What one exposition says.

    Attributes:
        values: Facts by name.
        exits: Facts about the exit by name; they are as old as the sighting.
        seen: Unix time of that sighting; None when there was none.
        cpu_seconds: CPU time that the pod or its programs have taken; None when it is not published.
        reached: Unix time at which a request of the sidecar's own last got through; 0 when its last ones did not;
            None when it does not say.
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    exits: Mapping[str, Value] = field(default_factory=dict)
    seen: float | None = None
    cpu_seconds: float | None = None
    reached: float | None = None


def read_exposition(text: str) -> Reading:
    """Read an exposition in Prometheus's text format.

    Raises:
        ParseError: A line cannot be read, a series is there more than once, or no series is known.
    """
    samples = _samples(text)
    if not samples:
        raise ParseError("no series of a proxy's exporter in it")
    values: dict[str, object] = {fact: _single(samples, name) for name, fact in _NUMBERS.items()}
    values["memory_mb"] = _scaled(_sum(samples, _MEMORY), 1e-6)
    for labels, value in samples.get("proxy_exit_check", ()):
        if labels.get("check") == "not_direct":
            values["not_direct"] = value
    seen = _single(samples, _SEEN)
    exits: dict[str, object] = {}
    for labels, _ in samples.get("proxy_exit_info", ()):
        ipv6 = ":" in labels.get("ip", "")
        exits["exit_country_ipv6" if ipv6 else "exit_country"] = labels.get("country") or None
        if not ipv6 or "exit_ip" not in exits:
            exits["exit_ip"] = labels.get("ip") or None
    if "exit_country" not in exits and "exit_country_ipv6" in exits:
        exits["exit_country"] = exits["exit_country_ipv6"]
    return Reading(
        _believed(values), _believed(exits) if seen else {}, seen, _sum(samples, _CPU), _reached(samples)
    )


class Cpu:
    """CPU use of each node from two readings of a counter."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def percent(self, node: str, seconds: float | None, now: float) -> float | None:
        """Percent of one core since the last reading; None for a first one, or after the counter began anew."""
        if seconds is None:
            self._last.pop(node, None)
            return None
        before = self._last.get(node)
        self._last[node] = (now, seconds)
        if before is None or now <= before[0] or seconds < before[1]:
            return None
        return 100 * (seconds - before[1]) / (now - before[0])

    def forget(self, node: str) -> None:
        """The node has left the pool."""
        self._last.pop(node, None)


def facts_of(reading: Reading, now: float, time: float) -> dict[str, Fact]:
    """The facts of a reading.

    Args:
        reading: The exposition.
        now: Monotonic seconds at which it was fetched.
        time: The same moment as Unix time. A sighting is put on the monotonic clock by its age; one that lies in
            the future, as clocks differ, counts as made now.
    """
    facts = {name: Fact(value, now, "sidecar") for name, value in reading.values.items()}
    if reading.seen is not None:
        at = now - max(0.0, time - reading.seen)
        facts |= {name: Fact(value, at, "sidecar") for name, value in reading.exits.items()}
    if reading.reached is not None:
        success = reading.reached > 0
        at = now - max(0.0, time - reading.reached) if success else now
        facts["reached"] = Fact(success, at, "sidecar")
    return facts


def _reached(samples: Mapping[str, list[Sample]]) -> float | None:
    outcomes, times = (samples.get(name, []) for name in _REACHED)
    if not outcomes:
        return None
    if not any(sample.value == 1 for sample in outcomes):
        return 0.0
    return max((sample.value for sample in times if sample.value > 0), default=None)


def _samples(text: str) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {}
    for line in _lines(text):
        try:
            families = list(text_string_to_metric_families(line + "\n"))
        except Exception as error:  # the library raises ValueError, IndexError, KeyError and others
            raise ParseError(f"a line of {line.split('{')[0][:60]} cannot be read") from error
        for family in families:
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(Sample(sample.labels, sample.value))
    return samples


def _lines(text: str) -> Iterator[str]:
    for count, match in enumerate(_LINE.finditer(text)):
        if count == _MOST_LINES:
            raise ParseError(f"more than {_MOST_LINES} lines of a proxy's series")
        if match.end() - match.start() > _LONGEST_LINE:
            raise ParseError(f"a line longer than {_LONGEST_LINE} characters")
        yield match[0]


def _single(samples: Mapping[str, list[Sample]], name: str) -> float | None:
    found = samples.get(name, [])
    if len(found) > 1:
        raise ParseError(f"{name} is there {len(found)} times; one proxy has it once")
    return found[0].value if found else None


def _sum(samples: Mapping[str, list[Sample]], names: tuple[str, str]) -> float | None:
    """The pod's own figure, or those of its programs together."""
    pod = _single(samples, names[0])
    if pod is not None or names[1] not in samples:
        return pod
    return sum(sample.value for sample in samples[names[1]])


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _believed(values: Mapping[str, object]) -> dict[str, Value]:
    """Those that a fact can have."""
    believed = {}
    for name, value in values.items():
        if value is None:
            continue
        try:
            believed[name] = read(name, value)
        except ParseError:
            continue
    return believed
