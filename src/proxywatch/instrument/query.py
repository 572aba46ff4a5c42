"""One DNS query from its arrival to its end."""

from asyncio import CancelledError
from collections.abc import Callable
from types import TracebackType
from typing import Self

from proxywatch.instrument import dns_reading
from proxywatch.instrument.answer import Answer
from proxywatch.instrument.dns_message import Question
from proxywatch.instrument.event import Cache, Outcome
from proxywatch.instrument.tally import MALFORMED, NONE, Tally


class Query:
    """A query that was begun with `MetricsAwareDns.begin`; made nowhere else.

    As a context manager it ends itself: as dropped when the block gave no answer, as an error when it raised.

    Attributes:
        number: How many had come with it.
        message_id: Id in the DNS message; None when it cannot be read.
        domain: Name asked for; empty when it cannot be read.
        type: Type asked for; `malformed` when it cannot be read.
        source: How it came, as given.
        client: Address of the client, as given.
        started: Clock time of its arrival.
        cached: Whether the answer comes from a cache; None when that is unknown or no matter.
    """

    __slots__ = (
        "_clock", "_ended", "_tally", "_tell", "cached", "client", "domain", "message_id", "number", "source",
        "started", "type",
    )  # fmt: skip

    def __init__(
        self,
        tally: Tally,
        clock: Callable[[], float],
        tell: "Callable[[Query, Outcome, Cache, str, float], None]",
        asked: Question | None,
        *,
        source: str,
        client: str,
    ) -> None:
        self._tally = tally
        self._clock = clock
        self._tell = tell
        self._ended = False
        self.message_id: int | None
        self.message_id, self.domain, self.type = asked or (None, "", MALFORMED)
        self.source = source
        self.client = client
        self.cached: bool | None = None
        self.started = clock()
        self.number = tally.begin(self.started)

    def answer(self, response: object, *, cached: bool | None = None, code: str | None = None) -> bool:
        """It is answered; whether this was its end, which later calls are not.

        Args:
            response: The DNS message, or an `Answer` with one; None when no answer is given.
            cached: Whether it came from a cache; None to leave it at what was told before.
            code: The response code, for a message that cannot be read here.
        """
        if isinstance(response, Answer):
            cached = response.cached if cached is None else cached
            response = response.message
        if cached is not None:
            self.cached = cached
        if response is None:
            return self._end("dropped", NONE)
        return self._end("answered", code or dns_reading.response_code(response) or MALFORMED)

    def fail(self, error: BaseException) -> bool:
        """Its handler has raised; whether this was its end."""
        return self._end("cancelled" if isinstance(error, CancelledError) else "error", NONE)

    def _end(self, outcome: Outcome, code: str) -> bool:
        if self._ended:
            return False
        self._ended = True
        cache: Cache = "uncacheable" if self.cached is None else "hit" if self.cached else "miss"
        seconds = self._clock() - self.started
        self._tally.end(
            self.source, self.type, self.domain, code, cache=cache, outcome=outcome, seconds=seconds
        )
        self._tell(self, outcome, cache, code, seconds)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.answer(None)
        else:
            self.fail(error)
