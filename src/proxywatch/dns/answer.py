"""What a handler of DNS queries is: bytes of a query in, bytes of a reply out."""

from typing import Literal, NamedTuple, Protocol

Transport = Literal["udp", "tcp", "https"]
Cached = Literal["hit", "miss", "uncacheable"]


class Answer(NamedTuple):
    """A reply to one query.

    Attributes:
        wire: The message; empty where the query deserves no reply.
        cached: `hit`, answered from the cache, stale and negative answers included; `miss`, upstreams were
            asked; `uncacheable`, the cache has no part in it: malformed, refused, blocked, or a name that
            stays here.
    """

    wire: bytes
    cached: Cached


class Handler(Protocol):
    """Answers queries; wrappers are called in the same way."""

    async def answer(self, query: bytes, transport: Transport, client: str) -> Answer:
        """Answer one query.

        Args:
            query: The message as it came, without the length of TCP.
            transport: How it came.
            client: The client's address, without a port.
        """
