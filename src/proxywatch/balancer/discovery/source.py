"""The protocol of sources: each one says what it sees, again and again."""

from collections.abc import AsyncGenerator
from typing import Protocol

from proxywatch.balancer.discovery.sighting import Sighting


class Source(Protocol):
    """One place that nodes come from."""

    def watch(self) -> AsyncGenerator[Sighting, None]:
        """Everything that it sees now, and again whenever that changes.

        The iterator may end, when a connection was closed for example: it is asked for again after a while. What was
        seen last stands until then.

        Raises:
            SourceError: It cannot be asked.
            ParseError: Its answer cannot be read.
        """
