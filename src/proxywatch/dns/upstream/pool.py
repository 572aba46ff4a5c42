"""Several resolvers as one: the next is asked when one fails or does not know."""

import asyncio
import logging
from collections.abc import Sequence

from proxywatch.clock import Clock
from proxywatch.dns.message import NOERROR, NXDOMAIN, SERVFAIL, TC, Question, Response
from proxywatch.dns.upstream.base import Upstream, UpstreamError
from proxywatch.dns.upstream.health import Health

log = logging.getLogger(__name__)

_ROUNDS = 2
_ANSWERS = {NOERROR, NXDOMAIN}


class Pool:
    """All resolvers.

    Attributes:
        health: How each of them fares.
    """

    def __init__(
        self, upstreams: Sequence[Upstream], clock: Clock, *, timeout: float, deadline: float
    ) -> None:
        """Be handed the resolvers.

        Args:
            upstreams: In the order of preference, with names of their own.
            clock: For pauses.
            timeout: Seconds for one resolver.
            deadline: Seconds for all of them.
        """
        self.health = Health([each.name for each in upstreams])
        self._upstreams = {each.name: each for each in upstreams}
        self._clock = clock
        self._timeout = timeout
        self._deadline = deadline
        self._down: set[str] = set()

    @property
    def upstreams(self) -> list[Upstream]:
        """The resolvers, in the order of preference."""
        return list(self._upstreams.values())

    async def ask(self, question: Question) -> Response:
        """The first usable answer; each resolver is asked twice at most, and once if it answered at all.

        Raises:
            UpstreamError: None in time; says what the last one said.
        """
        last = UpstreamError("timeout", "no resolver answered in time")
        try:
            async with asyncio.timeout(self._deadline):
                order = self.health.order(self._clock.monotonic())
                said: set[str] = set()
                for name in order * _ROUNDS:
                    if name in said:
                        continue
                    try:
                        return await self._ask(name, question)
                    except UpstreamError as error:
                        last = error
                        if error.reason == "rcode":
                            said.add(name)
        except TimeoutError:
            pass
        raise last

    async def _ask(self, name: str, question: Question) -> Response:
        self.health.began(name, self._clock.monotonic())
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._upstreams[name].ask(question)
        except TimeoutError:
            raise self._failed(name, UpstreamError("timeout", "it did not answer in time")) from None
        except UpstreamError as error:
            raise self._failed(name, error) from None
        if response.flags & TC:
            raise self._failed(name, UpstreamError("malformed", "its answer is cut short, by TCP"))
        refused = UpstreamError("rcode", f"it answered with code {response.rcode}")
        if response.rcode not in {*_ANSWERS, SERVFAIL}:
            raise self._failed(name, refused)
        self._answered(name)
        if response.rcode == SERVFAIL:  # which may be the zone's fault
            raise refused
        return response

    def _failed(self, name: str, error: UpstreamError) -> UpstreamError:
        """Count it, unless it is our own fault, and say whose it is."""
        now = self._clock.monotonic()
        if error.reason != "local":
            self.health.failed(name, now)
        if not self.health.up(name, now) and name not in self._down:
            self._down.add(name)
            log.warning(
                "resolver fails", extra={"resolver": name, "reason": error.reason, "error": str(error)}
            )
        return UpstreamError(error.reason, f"{name}: {error}")

    def _answered(self, name: str) -> None:
        self.health.answered(name)
        if name in self._down:
            self._down.discard(name)
            log.info("resolver answers again", extra={"resolver": name})

    def rows(self, now: float) -> list[tuple[str, bool, int, int, int]]:
        """(name, whether it is not paused, answers, failures, mismatched packets) of each resolver."""
        return [
            (name, self.health.up(name, now), *self.health.counts(name), upstream.mismatched)
            for name, upstream in self._upstreams.items()
        ]

    async def close(self) -> None:
        """Close all connections."""
        for upstream in self._upstreams.values():
            await upstream.close()
