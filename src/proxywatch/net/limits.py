"""What a client may cost, and who has been waiting for how long."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

ClientT = TypeVar("ClientT")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server.

    Attributes:
        connections: Open at once; one more closes the one that has been idle for longest.
        memory: Bytes that all connections together may hold; the costliest is closed beyond it.
        request_size: Bytes of a request: line, headers, and a body that no route reads.
        headers: Headers of a request.
        request_time: Seconds from a request's first byte to its last.
        idle_time: Seconds between requests.
        write_time: Seconds for a client to take what was written to it.
        leave_time: Seconds for a client that was refused to close.
    """

    connections: int = 12_000
    memory: int = 32 << 20
    request_size: int = 16 << 10
    headers: int = 100
    request_time: float = 10.0
    idle_time: float = 300.0
    write_time: float = 30.0
    leave_time: float = 2.0


class Waiting(Generic[ClientT]):
    """Who waits, in the order of beginning; as all may wait equally long, the first in is the first late."""

    def __init__(self, longest: float) -> None:
        """Nobody waits yet; `longest` is in seconds."""
        self._longest = longest
        self._since: dict[ClientT, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def __iter__(self) -> Iterator[ClientT]:
        return iter(self._since)

    def add(self, client: ClientT, now: float) -> None:
        """Start the time of a client; one that waits already starts again."""
        self._since.pop(client, None)
        self._since[client] = now

    def discard(self, client: ClientT) -> None:
        """Remove a client, if it waits here."""
        self._since.pop(client, None)

    def first(self) -> ClientT | None:
        """The client that has waited for longest."""
        return next(iter(self._since), None)

    def late(self, now: float) -> Iterator[ClientT]:
        """Remove and yield each client that has waited too long."""
        while self._since:
            client, since = next(iter(self._since.items()))
            if now - since < self._longest:
                return
            del self._since[client]
            yield client
