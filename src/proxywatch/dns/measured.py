"""A handler whose queries are told to whoever measures them: `proxywatch.instrument`, for example."""

from types import TracebackType
from typing import Protocol, Self

from proxywatch.dns.answer import Answer, Handler, Transport

_CACHED = {"hit": True, "miss": False, "uncacheable": None}


class Query(Protocol):
    """A query that is being measured; leaving its context without an answer is an end as well."""

    def answer(self, response: object, *, cached: bool | None = None) -> bool:
        """It was answered; None for no reply."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Meter(Protocol):
    """Whoever measures queries."""

    def begin(self, message: object, *, source: str = "udp", client: str = "") -> Query:
        """A query has come."""


class Measured:
    """The same handler, measured."""

    def __init__(self, handler: Handler, meter: Meter) -> None:
        """Be handed the handler and who measures it."""
        self._handler = handler
        self._meter = meter

    async def answer(self, query: bytes, transport: Transport, client: str) -> Answer:
        """Answer one query; see `answer.Handler`."""
        with self._meter.begin(query, source=transport, client=client) as measured:
            answer = await self._handler.answer(query, transport, client)
            measured.answer(answer.wire or None, cached=_CACHED[answer.cached])
            return answer
