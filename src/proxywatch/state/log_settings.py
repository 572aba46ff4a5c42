"""Which `log:` keywords the rules of danted.conf have, concluded from the lines that come.

    keyword       what it writes
    connect       every `[`
    disconnect    every `]`, whatever the end
    error         only a `]` that an error made: a refusal, a reset, a name; no timeout, no rule
    data, iooperation   a `-` per read; rules that block

A keyword is known to be there from the first line that only it writes. That it is missing can only be
concluded from lines that should have come: after some of those it is taken for missing, until one comes.
"""

import msgspec

MANY = 20
ENOUGH = 8  # ends: from then on more of them prove nothing new

_BY_RULE = {"client_rule", "socks_rule", "session_limit"}
_BY_TIME = {"connect_timeout"}


class LogSettings(msgspec.Struct):
    """Lines by what they prove.

    Attributes:
        begins: `[` lines of accepted connections.
        grants: `[` lines of requests.
        ends: `]` lines that only `disconnect` writes.
        errors: `]` lines that `error` or `disconnect` write.
        refusals: `]` lines of rules and limits, which every keyword but `error` writes.
        reads: `-` lines of data.
    """

    begins: int = 0
    grants: int = 0
    ends: int = 0
    errors: int = 0
    refusals: int = 0
    reads: int = 0

    @property
    def connect(self) -> bool | None:
        """Whether begins are logged; None while nothing tells."""
        if self.begins or self.grants:
            return True
        return False if self.ends + self.errors >= ENOUGH else None

    @property
    def disconnect(self) -> bool | None:
        """Whether ends of every kind are logged; None while nothing tells."""
        if self.ends:
            return True
        unended = self.grants >= MANY
        only_errors = self.connect is False and self.errors >= ENOUGH
        only_reads = self.reads >= MANY and not self.begins and not self.errors
        return False if unended or only_errors or only_reads else None

    @property
    def tells_successes(self) -> bool:
        """False once it is known that granted requests leave no line."""
        return not (self.connect is False and self.disconnect is False) and not self._only_reads

    @property
    def tells_failures(self) -> bool:
        """False once it is known that some failures leave no line."""
        return self.disconnect is not False

    @property
    def tells_rate(self) -> bool:
        """Whether both sorts of outcome are proven to leave lines."""
        successes = bool(self.begins or self.grants or self.ends)
        return successes and bool(self.ends or self.errors) and self.tells_failures

    @property
    def tells_active(self) -> bool:
        """Whether begins and ends of connections are both logged."""
        return self.begins > 0 and self.disconnect is not False and (self.ends > 0 or self.begins < MANY)

    @property
    def _only_reads(self) -> bool:
        return self.reads >= MANY and not (self.begins or self.grants or self.ends)

    def shows(self, reason: str) -> bool:
        """Whether failures for a reason leave lines; False only where that is known."""
        if self.disconnect is not False:
            return True
        if reason in _BY_RULE:
            return self.connect is True or self.reads > 0
        return self.errors > 0 and reason not in _BY_TIME

    def cannot_tell(self) -> list[str]:
        """What the log does not show, in words; empty when it shows everything, or nothing is known yet."""
        missing = []
        if not self.tells_successes:
            missing.append("requests that succeeded")
        if not self.tells_failures:
            missing.append("timeouts" if self.errors else "failures other than a rule's")
            missing.append("bytes, durations and ends of sessions")
        if self.connect is False:
            missing.append("set-up times and open connections")
        if self.disconnect is False and self.connect is not True and not self.reads:
            missing.append("requests that rules refused")
        return missing
