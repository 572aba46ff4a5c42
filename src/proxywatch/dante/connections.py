"""The connections that Dante serves: those under way, those in doubt, those given up.

A client that resets its connection, or gives up while the proxy still dials, may use the port again before
the old connection's end is written. So there may be several between two endpoints: the one that came last,
and those that it replaced. A begin means the last one; an end means the first that it can be the end of.

Whose end may never come is set aside: the port came again, or Dante was started anew, and its former children
may live on and write the ends of their sessions, or not. Minutes later it is given up, as is at once what is
known to have no end, and the oldest when there are too many. What was given up is remembered for a while, so
that an end that comes after all is not taken for another session's.
"""

from collections.abc import Callable, Iterable
from itertools import islice

import msgspec

UNDECIDED, GRANTED, FAILED, ENDED = 0, 1, 2, 3
UNSEEN = -1.0

_DOUBT = 300.0  # longer than anybody dials
_LOOK = 60.0
_MOST_BETWEEN = 8


class Connection(msgspec.Struct, array_like=True, gc=False):
    """One client's connection.

    Attributes:
        accepted: When, in seconds; -1 when that was not seen.
        origin: Whose.
        outcome: What became of its request, and of the session that it was if it was granted.
        command: What was granted; else empty.
        pid: The child that serves it; empty before one does.
        lost: Whether its session was counted closed because its end seemed unable to come.
        doubted: Since when its end may never come, in seconds; 0 for never.
        cause: Why that is; one of totals.CAUSES.
    """

    accepted: float
    origin: str
    outcome: int = UNDECIDED
    command: str = ""
    pid: bytes = b""
    lost: bool = False
    doubted: float = 0.0
    cause: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing but the end of the connection itself is to come."""
        return self.outcome > GRANTED


class SavedConnections(msgspec.Struct):
    """Everything that a restart needs."""

    last: dict[bytes, Connection]
    doubtful: dict[bytes, list[Connection]]
    given_up: dict[bytes, list[Connection]]


class Connections:
    """Connections by key: the client's endpoint and the proxy's, a space between.

    Attributes:
        last: The one that came last between two endpoints, the oldest first.
        doubtful: What was set aside, the oldest first.
        given_up: What was given up, the oldest first.
        capacity: The most that are held as the last ones; a quarter of it for either of the others.
    """

    def __init__(self, capacity: int, lost: Callable[[Connection], None]) -> None:
        """Start empty.

        Args:
            capacity: As the attribute.
            lost: Called with each that is given up.
        """
        self.last: dict[bytes, Connection] = {}
        self.doubtful: dict[bytes, list[Connection]] = {}
        self.given_up: dict[bytes, list[Connection]] = {}
        self.capacity = capacity
        self._lost = lost
        self._looked = 0.0

    def make_room(self) -> None:
        """Give up the oldest; some at once: to find a dict's first key costs what was deleted before it."""
        for oldest in list(islice(self.last, max(1, self.capacity // 64))):
            self.give_up(oldest, "evicted")

    def add(self, key: bytes, connection: Connection) -> None:
        """One that came; there is no other in its place."""
        if len(self.last) >= self.capacity:
            self.make_room()
        self.last[key] = connection

    def is_alone(self, key: bytes) -> bool:
        """Whether there is none but the last one between two endpoints."""
        return key not in self.doubtful and key not in self.given_up

    def first(self, key: bytes, *wanted: Callable[[Connection], bool]) -> Connection | None:
        """The oldest for which the first of some wishes comes true that does for any.

        What was given up is meant by nothing that may mean another.
        """
        last = self.last.get(key)
        living = [*self.doubtful.get(key, ()), *([last] if last else [])]
        return _first(living, wanted) or _first(self.given_up.get(key, ()), wanted)

    def waiting(self, key: bytes) -> Connection | None:
        """One without an outcome that was set aside or given up: it lives, so it is the last again."""
        for place in (self.given_up, self.doubtful):
            for it in place.get(key, ()):
                if it.outcome == UNDECIDED:
                    self.forget(key, it)
                    self.add(key, it)
                    return it
        return None

    def forget(self, key: bytes, connection: Connection) -> None:
        """It ended."""
        if self.last.get(key) is connection:
            del self.last[key]
            return
        for place in (self.doubtful, self.given_up):
            others = [it for it in place.get(key, ()) if it is not connection]
            if others:
                place[key] = others
            else:
                place.pop(key, None)

    def doubt(self, key: bytes, time: float, cause: str) -> None:
        """Set the last one aside; of those before, what has but to close is not waited for any longer."""
        connection = self.last.pop(key)
        connection.doubted, connection.cause = time, cause
        waited = [it for it in self.doubtful.get(key, ()) if not it.finished]
        for it in waited[: 1 - _MOST_BETWEEN]:
            self._give_up(key, it)
        self.doubtful[key] = [*waited[1 - _MOST_BETWEEN :], connection]
        if len(self.doubtful) > self.capacity // 4:
            self._give_up_doubtful(next(iter(self.doubtful)))

    def look(self, time: float) -> None:
        """Give up what was set aside minutes before `time`; call it when a second begins."""
        if not 0 <= time - self._looked < _LOOK:
            self._looked = time
            for key in [key for key, some in self.doubtful.items() if time - some[-1].doubted > _DOUBT]:
                self._give_up_doubtful(key)

    def give_up(self, key: bytes, cause: str) -> None:
        """The last one has no end."""
        connection = self.last.pop(key)
        connection.cause = cause
        self._give_up(key, connection)

    def doubt_all(self, time: float, cause: str) -> None:
        """Set everything aside."""
        for key in list(self.last):
            self.doubt(key, time, cause)

    def give_up_all(self, cause: str) -> None:
        """Nothing has an end."""
        for key in list(self.doubtful):
            self._give_up_doubtful(key)
        for key in list(self.last):
            self.give_up(key, cause)

    def child_died(self, pid: bytes, time: float) -> None:
        """What it served has no end; what it passed on to another child may have one."""
        for key in [key for key, it in self.last.items() if it.pid == pid and not it.finished]:
            if self.last[key].outcome == UNDECIDED:
                self.doubt(key, time, "child_died")
            else:
                self.give_up(key, "child_died")
        for key, some in list(self.doubtful.items()):
            for it in some:
                if it.pid == pid and it.outcome != UNDECIDED and not it.finished:
                    self.forget(key, it)
                    it.cause = "child_died"
                    self._give_up(key, it)

    def _give_up_doubtful(self, key: bytes) -> None:
        for it in self.doubtful.pop(key):
            self._give_up(key, it)

    def _give_up(self, key: bytes, connection: Connection) -> None:
        if connection.finished or connection.lost:
            return
        self._lost(connection)
        self.given_up.setdefault(key, []).append(connection)
        del self.given_up[key][:-_MOST_BETWEEN]
        if len(self.given_up) > self.capacity // 4:
            del self.given_up[next(iter(self.given_up))]

    def save(self) -> SavedConnections:
        """Everything, for `restore`."""
        return SavedConnections(self.last, self.doubtful, self.given_up)

    def restore(self, saved: SavedConnections) -> None:
        """Go on from what `save` gave."""
        self.last, self.doubtful, self.given_up = saved.last, saved.doubtful, saved.given_up


def _first(
    connections: Iterable[Connection], wanted: Iterable[Callable[[Connection], bool]]
) -> Connection | None:
    return next((it for wish in wanted for it in connections if wish(it)), None)
