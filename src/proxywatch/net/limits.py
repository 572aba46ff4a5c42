"""What a client may cost, and the books of who has been waiting for how long."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Client = TypeVar("Client")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server.

    Attributes:
        connections: Open at once; one more closes the one that has been idle for longest.
        request_size: Bytes of a request: line, headers, and a body that no route reads.
        request_time: Seconds from a request's first byte to its last.
        idle_time: Seconds between requests.
        write_time: Seconds for a client to take what was written to it.
    """

    connections: int = 12_000
    request_size: int = 16 << 10
    request_time: float = 10.0
    idle_time: float = 300.0
    write_time: float = 30.0


class Waiting(Generic[Client]):
    """Who waits, in the order of beginning; as all may wait equally long, the first in is the first late."""

    def __init__(self, longest: float) -> None:
        """Nobody waits yet; `longest` is in seconds."""
        self._longest = longest
        self._since: dict[Client, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._since)

    def add(self, client: Client, now: float) -> None:
        """From now on; whoever waits already begins anew."""
        self._since.pop(client, None)
        self._since[client] = now

    def discard(self, client: Client) -> None:
        """Waits no longer."""
        self._since.pop(client, None)

    def first(self) -> Client | None:
        """Who has waited for longest."""
        return next(iter(self._since), None)

    def late(self, now: float) -> Iterator[Client]:
        """Take out whoever has waited too long."""
        while self._since:
            client, since = next(iter(self._since.items()))
            if now - since < self._longest:
                return
            del self._since[client]
            yield client


class Books(Generic[Client]):
    """The four states in which a connection waits for its client; in a fifth the client waits for us."""

    def __init__(self, limits: Limits) -> None:
        self.idle: Waiting[Client] = Waiting(limits.idle_time)
        self.reading: Waiting[Client] = Waiting(limits.request_time)
        self.writing: Waiting[Client] = Waiting(limits.write_time)
        self.leaving: Waiting[Client] = Waiting(2.0)

    def late(self, now: float) -> Iterator[Client]:
        """Take out whoever has waited too long in any of them."""
        for book in (self.idle, self.reading, self.writing, self.leaving):
            yield from book.late(now)

    def least(self) -> Client | None:
        """Who is missed least when a place is needed."""
        for book in (self.leaving, self.idle, self.reading, self.writing):
            if (client := book.first()) is not None:
                return client
        return None
