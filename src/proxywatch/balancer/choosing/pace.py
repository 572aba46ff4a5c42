"""How fast a node serves our own traffic, and what its failures cost.

All times are monotonic seconds.
"""

from math import exp

import msgspec

TIMEOUT_MS = 10_000.0
_GAIN = 0.3
_PENALTY_DECAY = 30.0
_PEAK_DECAY = 10.0
_FIRST_PEAK_MS = 1000.0
_MEMORY = 90.0
_NEVER = float("-inf")


class Pace(msgspec.Struct, frozen=True, gc=False):
    """Three views of the same connections.

    Attributes:
        traffic_ms: Smoothed time to a connection.
        traffic_at: The last one.
        penalty_ms: What failures add to a latency: each counts as a time-out, so that failing fast is not
            fast.
        penalty_at: As of when; it decays over half a minute.
        peak_ms: Time to a connection that follows a rise at once, as of `peak_at`, and a fall over ten
            seconds.
        peak_at: The last connection or failure.
    """

    traffic_ms: float = 0.0
    traffic_at: float = _NEVER
    penalty_ms: float = 0.0
    penalty_at: float = 0.0
    peak_ms: float = 0.0
    peak_at: float = _NEVER

    def took(self, now: float, ms: float) -> "Pace":
        """After a connection that was opened in so many milliseconds."""
        fresh = now - self.traffic_at < _MEMORY
        penalty = self.penalty(now) * (1 - _GAIN)
        return Pace(
            self.traffic_ms + _GAIN * (ms - self.traffic_ms) if fresh else ms,
            now,
            penalty if penalty >= 1 else 0.0,
            now,
            self._peaked(now, ms),
            now,
        )

    def refused(self, now: float) -> "Pace":
        """After a failure."""
        left = self.penalty(now)
        return Pace(
            self.traffic_ms,
            self.traffic_at,
            left + _GAIN * (TIMEOUT_MS - left),
            now,
            self._peaked(now, TIMEOUT_MS),
            now,
        )

    def traffic(self, now: float) -> float | None:
        """Smoothed time to a connection in milliseconds; None without one lately."""
        return self.traffic_ms if now - self.traffic_at < _MEMORY else None

    def penalty(self, now: float) -> float:
        """Milliseconds that failures add now."""
        return self.penalty_ms * exp((self.penalty_at - now) / _PENALTY_DECAY) if self.penalty_ms else 0.0

    def peak(self, now: float, floor: float) -> float:
        """The peak as it has decayed towards `floor`; a second for a node without traffic yet."""
        if self.peak_at == _NEVER:
            return _FIRST_PEAK_MS
        above = self.peak_ms - floor
        return (
            self.peak_ms
            if above <= 0 or now <= self.peak_at
            else floor + above * exp((self.peak_at - now) / _PEAK_DECAY)
        )

    def _peaked(self, now: float, ms: float) -> float:
        keep = exp((self.peak_at - now) / _PEAK_DECAY)
        return max(ms, self.peak_ms * keep + ms * (1 - keep))
