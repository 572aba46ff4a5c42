"""Which `log:` keywords the rules of danted.conf have, concluded from the lines that come.

    keyword       what it writes
    connect       every `[`
    disconnect    every `]`, whatever the end
    error         only a `]` that an error made: a refusal, a reset, a name; no timeout, no rule
    data, iooperation   a `-` per read; rules that block

A keyword is known to be there from the first line that only it writes. That it is missing can only be
concluded from lines that should have come: after `_ENOUGH` of those it is taken for missing, until one comes.
"""

import msgspec

_ENOUGH = 20
_ENOUGH_ENDS = 8


class LogSettings(msgspec.Struct):
    """Lines by what they prove.

    Attributes:
        begins: `[` lines of accepted connections.
        grants: `[` lines of requests.
        ends: `]` lines that only `disconnect` writes.
        errors: `]` lines that `error` or `disconnect` write.
        accept_ends: `]` lines of accepted connections, of either sort.
        refusals: `]` lines of rules and limits, which every keyword but `error` writes.
        reads: `-` lines of data.
    """

    begins: int = 0
    grants: int = 0
    ends: int = 0
    errors: int = 0
    accept_ends: int = 0
    refusals: int = 0
    reads: int = 0

    @property
    def connect(self) -> bool | None:
        """Whether begins are logged; None while nothing tells."""
        if self.begins or self.grants:
            return True
        return False if self.ends + self.errors >= _ENOUGH_ENDS else None

    @property
    def disconnect(self) -> bool | None:
        """Whether ends of every kind are logged; None while nothing tells."""
        if self.ends:
            return True
        unended = self.grants >= _ENOUGH
        only_errors = self.connect is False and self.errors >= _ENOUGH_ENDS
        only_reads = self.reads >= _ENOUGH and not self.begins and not self.errors
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
        return (
            self.begins > 0
            and self.disconnect is not False
            and (self.accept_ends > 0 or self.begins < _ENOUGH)
        )

    @property
    def tells_errors(self) -> bool:
        """False once it is known that errors leave no line."""
        return self.disconnect is not False or self.errors > 0

    @property
    def _only_reads(self) -> bool:
        return self.reads >= _ENOUGH and not (self.begins or self.grants or self.ends)
