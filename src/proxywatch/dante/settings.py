"""Which `log:` keywords the rules of danted.conf have, concluded from the lines that come.

    keyword       what it writes
    connect       every `[`
    disconnect    every `]`, whatever the end
    error         only a `]` that an error made: a refusal, a reset, a name; no timeout, no rule
    data, iooperation   a `-` per read; rules that block

Client rules write the lines of connections (`accept`), socks rules those of requests, each by keywords of its
own. What fails before there is a request, or while its name is resolved, only client rules write.

A keyword is known to be there from the first line that only it writes. That it is missing can only be
concluded from lines that should have come: after some of those it is taken for missing, until one comes.
"""

from typing import Literal, Self

import msgspec

MANY = 20
ENOUGH = 8  # ends: from then on more of them prove nothing new

_BY_RULE = {"client_rule", "socks_rule", "session_limit"}
_BY_TIME = {"connect_timeout"}


class LogSettings(msgspec.Struct):
    """Lines by what they prove.

    Attributes:
        begins: `[` lines of connections.
        grants: `[` lines of requests.
        ends: `]` lines that only `disconnect` writes.
        accept_ends: Those of them that are of connections.
        accept_errors: `]` lines of connections that `error` or `disconnect` write.
        errors: Such lines of either sort.
        broken: Such lines of requests that had been granted.
        reads: `-` lines of data.
        since: When these settings came to be in force, in seconds; 0 for before the first line. Sessions that
            began before go by others.
        proven: Whether more ends prove nothing new.
        before: What the settings before these were proven to show.
    """

    begins: int = 0
    grants: int = 0
    ends: int = 0
    accept_ends: int = 0
    errors: int = 0
    accept_errors: int = 0
    broken: int = 0
    reads: int = 0
    since: float = 0.0
    proven: bool = False
    before: list[str] = []

    def learn(self, sort: Literal["end", "error", "refusal"], *, of_connection: bool, granted: bool) -> None:
        """Learn from a `]`; from a refusal nothing, as every keyword but `error` writes it.

        Args:
            sort: What writes it: `disconnect` alone, `error` too, or any keyword but `error`.
            of_connection: Whether a client rule wrote it.
            granted: Whether the request had been granted.
        """
        if sort == "end":
            self.ends += 1
            self.accept_ends += of_connection
            self.proven = self.accept_ends >= ENOUGH and self.ends - self.accept_ends >= ENOUGH
        elif sort == "error":
            self.errors += 1
            self.accept_errors += of_connection
            self.broken += granted and not of_connection

    @property
    def connect(self) -> bool | None:
        """Whether begins are logged; None while nothing tells."""
        if self.begins or self.grants:
            return True
        return False if self.ends + self.errors >= ENOUGH else None

    @property
    def disconnect(self) -> bool | None:
        """Whether ends of every kind are logged, by client rules at least; None while nothing tells."""
        if self.accept_ends:
            return True
        requests_alone = self.ends >= ENOUGH  # they end, and their connections do not
        return False if requests_alone or self._unended else None

    @property
    def _unended(self) -> bool:
        if self.ends:
            return False
        only_errors = self.connect is False and self.errors >= ENOUGH
        only_reads = self.reads >= MANY and not self.begins and not self.errors
        return self.grants - self.broken >= MANY or only_errors or only_reads

    # What is known to be hidden

    @property
    def hides_successes(self) -> bool:
        """Whether it is known that granted requests leave no line."""
        only_reads = self.reads >= MANY and not self._any
        return only_reads or (self.connect is False and self.hides_ends)

    @property
    def hides_failures(self) -> bool:
        """Whether it is known that some failures leave no line."""
        return self.disconnect is False

    @property
    def hides_ends(self) -> bool:
        """Whether it is known that sessions end without a line."""
        return self.disconnect is False and not self.ends

    # What is proven to be shown

    @property
    def _any(self) -> bool:
        return bool(self.begins or self.grants or self.ends)

    @property
    def shows_requests(self) -> bool:
        """Whether a request that was granted has left a line."""
        return bool(self.grants or self.ends)

    @property
    def shows_successes(self) -> bool:
        """Whether it is proven that granted requests leave lines."""
        return not self.hides_successes and (self._any or "successes" in self.before)

    @property
    def shows_failures(self) -> bool:
        """Whether it is proven that all failures leave lines."""
        proven = bool(self.accept_ends or (self.accept_errors and self.begins))
        return not self.hides_failures and (proven or "failures" in self.before)

    @property
    def shows_ends(self) -> bool:
        """Whether it is proven that the ends of sessions leave lines."""
        return not self.hides_ends and (self.ends > 0 or "ends" in self.before)

    @property
    def shows_durations(self) -> bool:
        """Whether it is proven that connections' ends are logged, and their begins may be."""
        return not self.hides_failures and (self.accept_ends > 0 or "durations" in self.before)

    @property
    def shows_rate(self) -> bool:
        """Whether both sorts of outcome are proven to leave lines."""
        return self._any and bool(self.accept_ends or self.accept_errors) and not self.hides_failures

    @property
    def shows_active(self) -> bool:
        """Whether begins and ends of connections are both logged."""
        return self.begins > 0 and self.accept_ends > 0

    def renewed(self, since: float) -> Self:
        """Settings that came to be in force.

        Nothing is known of them, and what was shown is until it is refuted.
        """
        shown = {
            "successes": self.shows_successes,
            "failures": self.shows_failures,
            "ends": self.shows_ends,
            "durations": self.shows_durations,
        }
        return type(self)(since=since, before=[what for what, is_shown in shown.items() if is_shown])

    def shows(self, reason: str) -> bool:
        """Whether it is proven that failures for a reason leave lines."""
        if self.shows_failures:
            return True
        if reason in _BY_RULE:
            return self.connect is True or self.reads > 0 or self.ends > 0
        return self.accept_errors > 0 and reason not in _BY_TIME

    def cannot_tell(self) -> list[str]:
        """What the log does not show, in words; empty when it shows everything, or nothing is known yet."""
        missing = []
        if self.hides_successes:
            missing.append("requests that succeeded")
        if self.hides_failures:
            missing.append("timeouts" if self.accept_errors else "failures other than a rule's")
            missing.append(
                "durations and open connections"
                if self.ends
                else "bytes, durations and ends of sessions (if any has ended)"
            )
        if self.connect is False:
            missing.append("set-up times and open connections")
        if self.hides_ends and self.connect is not True and not self.reads:
            missing.append("requests that rules refused")
        return missing
