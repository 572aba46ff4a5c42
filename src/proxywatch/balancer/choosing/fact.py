"""Facts: measurements of a node, each with its time and its source.

Facts that an operator posts win over collected ones of the same name until they are stale. What is known does
not depend on the order in which facts arrive: the newest counts, of two of the same time the greater number,
and false before true.
"""

from collections.abc import Mapping
from math import exp, isfinite
from typing import Any, Literal

import msgspec

from proxywatch.errors import ParseError

Source = Literal["operator", "sidecar", "probe", "speed", "discovery"]
Value = float | bool | str
Name = str

# Every fact that choosing knows, its type, and the greatest number that is believed.
KINDS: Mapping[Name, tuple[type, float]] = {
    "server_latency_ms": (float, 600_000.0),
    "proxy_latency_ms": (float, 600_000.0),
    "speed_mbps": (float, 1_000_000.0),
    "connections": (float, 10_000_000.0),
    "cpu_percent": (float, 100_000.0),
    "memory_mb": (float, 100_000_000.0),
    "success_rate_percent": (float, 100.0),
    "tunnel_up": (bool, 1.0),
    "reached": (bool, 1.0),  # whether the sidecar's own requests get through the proxy and its tunnel
    "exit_country": (str, 64.0),
    "exit_country_ipv6": (str, 64.0),
    "exit_ip": (str, 64.0),
    "not_direct": (bool, 1.0),
}
SMOOTHED = ("server_latency_ms", "proxy_latency_ms")
_SAMPLES = 8
_SMOOTHING = 60.0


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One measurement.

    Attributes:
        value: What was measured.
        at: When, in monotonic seconds.
        source: Who says so.
    """

    value: Value
    at: float
    source: Source

    def order(self) -> tuple[float, str, str]:
        """Facts of one name are ordered by this; the last one counts."""
        return self.at, self.source, str(not self.value if isinstance(self.value, bool) else self.value)


class Facts(msgspec.Struct, frozen=True):
    """What is known of a node.

    Attributes:
        collected: The newest fact of each name that we collected.
        posted: The newest fact of each name that an operator posted.
        samples: The newest collected facts of each name in SMOOTHED, oldest first.
    """

    collected: dict[Name, Fact] = {}
    posted: dict[Name, Fact] = {}
    samples: dict[Name, tuple[Fact, ...]] = {}

    def learn(self, news: Mapping[Name, Fact]) -> "Facts":
        """What is known after these facts."""
        collected, posted, samples = dict(self.collected), dict(self.posted), dict(self.samples)
        for name, fact in news.items():
            store = posted if fact.source == "operator" else collected
            known = store.get(name)
            if known is None or fact.order() > known.order():
                store[name] = fact
            if name in SMOOTHED and store is collected:
                kept = {*samples.get(name, ()), fact}
                samples[name] = tuple(sorted(kept, key=Fact.order)[-_SAMPLES:])
        return Facts(collected, posted, samples)

    def get(self, name: Name, now: float, keep: float) -> Fact | None:
        """The fact that counts now: the posted one until it is `keep` seconds old, else the collected one."""
        posted = self.posted.get(name)
        if posted is not None and now - posted.at < keep:
            return posted
        return self.collected.get(name, posted)

    def number(self, name: Name, now: float, keep: float) -> float | None:
        """The value of a numeric fact."""
        fact = self.get(name, now, keep)
        return None if fact is None else float(fact.value)

    def smoothed(self, name: Name, now: float, keep: float) -> float | None:
        """The latency that strategies compare: collected ones weighted by age, a posted one as it is."""
        fact = self.get(name, now, keep)
        samples = self.samples.get(name, ())
        if fact is None or fact.source == "operator" or not samples:
            return None if fact is None else float(fact.value)
        newest = samples[-1].at
        weights = [exp((sample.at - newest) / _SMOOTHING) for sample in samples]
        total = sum(w * float(s.value) for w, s in zip(weights, samples, strict=True))
        return total / sum(weights)


def read(name: Name, value: object) -> Value:
    """A fact's value as its kind has it.

    Raises:
        ParseError: For an unknown name or a value of another kind or out of bounds.
    """
    if name not in KINDS:
        raise ParseError(f"unknown fact {name[:40]!r}; known are {', '.join(KINDS)}")
    kind, bound = KINDS[name]
    good: Any = value
    if kind is bool and (isinstance(good, bool) or (isinstance(good, int | float) and good in {0, 1})):
        return bool(good)
    if kind is float and isinstance(good, int | float) and not isinstance(good, bool):
        number = float(good) if abs(good) <= bound else -1.0
        if isfinite(number) and number >= 0:
            return number
    if kind is str and isinstance(good, str) and len(good) <= bound and good.isprintable():
        return good
    expected = {bool: "true or false", float: f"a number from 0 to {bound:g}", str: "a short text"}[kind]
    raise ParseError(f"{name}: expected {expected}")
