"""The connections of a proxy: those that live, as looks find them, and those whose end the kernel reports.

A connection that a look has found is known by its cookie. What it has moved is added at each look, and the
rest when it ends. One that begins and ends between two looks is counted as a whole at its end. Those that
were there before the first look count from there on, and without a duration.

Looks and ends come from two sockets, so a row may be older than an end that was read before it: an end that
is read while a look is under way is remembered until the look is over.
"""

from proxywatch.parse.tcp_info import Counters, Row
from proxywatch.tcp.probes import MOMENT, Candidate, Probes
from proxywatch.tcp.sides import NOBODY, OWN, UNATTRIBUTED, Side, Sides
from proxywatch.tcp.totals import CLIENT, NOTHING, SIDES, UPSTREAM, Figures, Lifetime, Totals, end_of

_CAPACITY = 32768
_LONGEST = 60.0  # seconds that a connection is kept back while one probe follows the other


class _Known:
    """A living connection.

    Attributes:
        side: Where it is.
        figures: What of it has been added to the totals.
        before: When the look before the first one that found it began; None when it was there before us.
        found, seen: When the first and the last look that found it began.
        kept_back: Until when nothing of it is counted, as it may be a probe's; 0 for one that is counted.
        missing: The last look did not find it.
    """

    __slots__ = ("before", "figures", "found", "kept_back", "missing", "seen", "side")

    def __init__(self, side: Side, figures: Figures, before: float | None, now: float) -> None:
        self.side = side
        self.figures = figures
        self.before = before
        self.found = self.seen = now
        self.kept_back = 0.0
        self.missing = False


class Connections:
    """Follows connections from look to end. All times are monotonic seconds.

    Attributes:
        totals: By side.
        zeroed: Ends of connections whose counters had been cleared.
        own, own_bytes: Ends of our own probes' connections to the proxy, and what these moved.
        unattributed: Ends of connections that may have been the proxy's, on a host that others share.
        reported, failed: Ends of connections of anybody that the kernel has reported, and those of them that
            were never established.
        living: Connections of anybody that the last look found.
        probes: Tells our own probes' connections to destinations.
    """

    def __init__(self, sides: Sides, capacity: int = _CAPACITY) -> None:
        self.totals = {side: Totals() for side in SIDES}
        self.unattributed = self.zeroed = self.own = self.own_bytes = 0
        self.reported = self.failed = self.living = 0
        self.probes = Probes()
        self._sides = sides
        self._capacity = capacity
        self._known: dict[bytes, _Known] = {}
        self._others: set[bytes] = set()
        self._others_found: set[bytes] = set()
        self._ended: set[bytes] = set()  # while a look is under way
        self._looking = False
        self._looks = 0
        self._look = self._before = 0.0  # when the last one began, and the one before
        self._found = 0

    def open(self, side: str) -> int:
        """How many connections of a side the last look found that have not ended since."""
        return sum(known.side == side for known in self._known.values())

    # A look at the living

    def begin(self, now: float) -> None:
        """Begin a look."""
        self._before, self._look = self._look, now
        self._looks += 1
        self._looking = True
        self._others_found = set()
        self._found = 0

    def seen(self, row: Row, counters: Counters, cgroup: int | None) -> None:
        """Take a connection that the look found."""
        if row.cookie in self._ended:
            return
        self._found += 1
        known = self._known.get(row.cookie)
        if known is None:
            known = self._meet(row, counters, cgroup)
            if known is None:
                return
        known.seen, known.missing = self._look, False
        self._advance(known, counters)

    def _meet(self, row: Row, counters: Counters, cgroup: int | None) -> _Known | None:
        """A connection that no look has found before; None for one that is not followed."""
        side = self._sides.of_living(row, cgroup)
        if side == NOBODY:
            if len(self._others_found) < self._capacity:
                self._others_found.add(row.cookie)
            return None
        if len(self._known) >= self._capacity:
            return None
        inherited = self._looks == 1
        figures = Figures.of(counters, dialled=side == UPSTREAM) if inherited else NOTHING
        known = self._known[row.cookie] = _Known(
            side, figures, None if inherited else self._before, self._look
        )
        if inherited or side == OWN:
            return known
        if side == UPSTREAM and self.probes.watching(self._look):
            known.kept_back = self._look + _LONGEST
        else:
            self.totals[side].opened += 1
        return known

    def _advance(self, known: _Known, counters: Counters) -> None:
        if known.side == OWN:
            return
        if known.kept_back and not self._release(known):
            return
        figures = Figures.of(counters, dialled=known.side == UPSTREAM)
        self.totals[known.side].moved(figures, known.figures)
        known.figures = figures

    def _release(self, known: _Known) -> bool:
        """Count it from now on if it outlives every probe that ran when it began."""
        if not self.probes.running:
            known.kept_back = min(known.kept_back, known.seen + MOMENT)
        if known.seen < known.kept_back:
            return False
        known.kept_back = 0.0
        self.totals[known.side].opened += 1
        return True

    def finish(self, *, complete: bool) -> None:
        """End a look. What two complete looks did not find, and nobody reported, has ended unseen."""
        self._ended = set()
        self._looking = False
        self._others = self._others_found
        if not complete:
            return
        self.living = self._found
        gone = []
        for cookie, known in self._known.items():
            if known.seen != self._look:
                if known.missing:
                    gone.append(cookie)
                known.missing = True
        for cookie in gone:
            known = self._known.pop(cookie)
            if known.side != OWN and not known.kept_back:
                totals, moved = self.totals[known.side], known.figures.sent + known.figures.received
                totals.ended("unknown", self._lifetime(known, known.seen), None, moved)

    # Ends

    def ended(self, row: Row, counters: Counters, now: float) -> None:
        """Take the kernel's report that a socket has ended."""
        if counters.mtu:  # else it never tried to connect: it listened, or did nothing
            self.reported += 1
            self.failed += not counters.answered
        if self._looking:
            self._ended.add(row.cookie)
        known = self._known.pop(row.cookie, None)
        if not row.remote_port and counters.answered:
            self._zeroed_ended(row, known)
        if known is not None:
            self._known_ended(known, counters, now)
        elif counters.mtu and self._looks and row.cookie not in self._others:
            self._unknown_ended(self._sides.of_ended(row), counters, now)

    def _zeroed_ended(self, row: Row, known: _Known | None) -> None:
        """Its counters were cleared: what it has moved since it was last looked at is not known."""
        side = known.side if known else NOBODY if row.cookie in self._others else self._sides.of_ended(row)
        self.zeroed += side in SIDES

    def _known_ended(self, known: _Known, counters: Counters, now: float) -> None:
        side, lifetime = known.side, self._lifetime(known, now)
        figures = Figures.of(counters, dialled=side == UPSTREAM)
        if side == OWN:
            self._own_ended(figures, now)
        elif known.kept_back:
            end = end_of(counters, dialled=True)
            self.probes.add(Candidate(now, figures, lifetime, end, counters))
        else:
            figures = self.totals[side].moved(figures, known.figures)
            end = end_of(counters, dialled=side == UPSTREAM)
            self.totals[side].ended(end, lifetime, counters, figures.sent + figures.received)

    def _unknown_ended(self, side: Side, counters: Counters, now: float) -> None:
        if side == CLIENT:
            figures = Figures.of(counters, dialled=False)
            self._count(side, figures, end_of(counters, dialled=False), self._short(now), counters)
        elif side == UPSTREAM:
            figures, end = Figures.of(counters, dialled=True), end_of(counters, dialled=True)
            if self.probes.watching(now):
                self.probes.add(Candidate(now, figures, self._short(now), end, counters))
            else:
                self._count(side, figures, end, self._short(now), counters)
        elif side == OWN:
            self._own_ended(Figures.of(counters, dialled=False), now)
        elif side == UNATTRIBUTED:
            self.unattributed += 1

    def _own_ended(self, figures: Figures, now: float) -> None:
        self.own += 1
        self.own_bytes += figures.sent + figures.received
        self.probes.ended(now, figures)

    def settle(self, now: float) -> None:
        """Count the connections that were kept back and are no probe's."""
        for it in self.probes.settle(now):
            self._count(UPSTREAM, it.figures, it.end, it.lifetime, it.counters)

    def _count(
        self, side: str, figures: Figures, end: str, lifetime: Lifetime | None, counters: Counters | None
    ) -> None:
        totals = self.totals[side]
        totals.opened += 1
        totals.moved(figures)
        totals.ended(end, lifetime, counters, figures.sent + figures.received)

    def _short(self, now: float) -> Lifetime:
        """Of a connection that began and ended since the last look."""
        since = self._before if self._looking and self._looks > 1 else self._look
        return Lifetime((now - since) / 2, 0.0)

    @staticmethod
    def _lifetime(known: _Known, now: float) -> Lifetime | None:
        if known.before is None:
            return None
        return Lifetime(now - (known.found + known.before) / 2, known.seen - known.before)
