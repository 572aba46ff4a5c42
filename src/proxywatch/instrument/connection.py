"""One connection of a proxy while it is open."""

from asyncio import CancelledError
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from proxywatch.instrument.event import ConnectionClosed
from proxywatch.instrument.hub import Channel
from proxywatch.instrument.ledger import Account, Ledger, Place

CLOSED, LOST, ERROR, CANCELLED = "closed", "lost", "error", "cancelled"


class Owner(Protocol):
    """What a connection needs of the proxy that it belongs to."""

    ledger: Ledger
    clock: Callable[[], float]
    closed: Channel[ConnectionClosed]

    def tell_closed(self, connection: "Connection", now: float) -> None:
        """Tell listeners of its end."""


class Connection:
    """A connection that was opened with `MetricsAwareProxy.open`; made nowhere else.

    As a context manager it closes itself, with the reason that the block's end gives. Bytes of all
    connections of one proxy are to be recorded in one thread, usually the loop's; all else may be called from
    any.

    Attributes:
        number: How many had been opened with it.
        place: Type, route and node, as given at the opening.
        client: Address of the client, as given.
        bytes_in: Bytes received from the client so far.
        bytes_out: Bytes sent to the client so far.
        started: Clock time of the opening.
        reason: Why it has ended; empty while it is open.
    """

    __slots__ = (
        "_account", "_clock", "_owner", "_samples",
        "bytes_in", "bytes_out", "client", "number", "place", "reason", "started",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917 - made in one place, quickly
        self, owner: Owner, account: Account, place: Place, client: str, number: int, started: float
    ) -> None:
        self._owner = owner
        self._clock = owner.clock
        self._samples = owner.ledger.samples
        self._account = account
        self.place = place
        self.client = client
        self.number = number
        self.started = started
        self.bytes_in = self.bytes_out = 0
        self.reason = ""

    def received(self, size: int) -> None:
        """So many bytes came from the client."""
        if (now := self._clock()) >= self._samples.turn:
            self._advance(now)
        self.bytes_in += size
        self._account.bytes_in += size

    def sent(self, size: int) -> None:
        """So many bytes went to the client."""
        if (now := self._clock()) >= self._samples.turn:
            self._advance(now)
        self.bytes_out += size
        self._account.bytes_out += size

    def requested(self) -> None:
        """A further request came on this connection; the first is counted at the opening."""
        with self._owner.ledger.lock:
            self._samples.advance(self._clock())
            self._account.requests += 1

    def close(self, reason: str = CLOSED) -> bool:
        """It has ended; whether this was the first to say so. What later ones say is ignored."""
        owner, account = self._owner, self._account
        now = self._clock()
        ledger = owner.ledger
        with ledger.lock:
            if self.reason:
                return False
            self.reason = reason = reason or CLOSED
            account.active -= 1
            account.closed += 1
            account.seconds += now - self.started
            if reason in ledger.reasons:
                ledger.reasons[reason] += 1
            else:
                ledger.new_reason(reason)
        if owner.closed.listeners:
            owner.tell_closed(self, now)
        return True

    def _advance(self, now: float) -> None:
        with self._owner.ledger.lock:
            self._samples.advance(now)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(reason_of(error))


def reason_of(error: BaseException | None) -> str:
    """How a connection ended whose handler returned or raised."""
    if error is None:
        return CLOSED
    if isinstance(error, CancelledError):
        return CANCELLED
    return LOST if isinstance(error, ConnectionError) else ERROR
