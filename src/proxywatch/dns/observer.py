"""Whoever wants to see each query and its answer."""

from typing import Protocol

from proxywatch.dns.answer import Answer, Transport


class Observer(Protocol):
    """Is told of each answer, at once; must not wait, and its failures are its own."""

    def answered(
        self, query: bytes, transport: Transport, client: str, answer: Answer, seconds: float
    ) -> None:
        """A query was answered, or got no reply (an empty one).

        Args:
            query: The message as it came.
            transport: How it came.
            client: The client's address, without a port.
            answer: The reply.
            seconds: From the query to the reply.
        """
