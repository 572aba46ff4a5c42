"""What an upstream is, and how asking one fails."""

import errno
from typing import Literal, Protocol

from proxywatch.dns.message import Question, Response
from proxywatch.errors import SourceError

Reason = Literal[
    "timeout", "refused", "unreachable", "closed", "tls", "protocol", "malformed", "rcode", "name", "local"
]


class UpstreamError(SourceError):
    """An upstream did not answer, or not usably.

    Attributes:
        reason: Short label from a closed set, for metrics; `local` is this machine's own fault.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Upstream(Protocol):
    """A resolver, asked in one way."""

    @property
    def name(self) -> str:
        """As in the settings."""

    @property
    def mismatched(self) -> int:
        """Packets that were not the answer to any query."""

    async def ask(self, question: Question) -> Response:
        """Ask once; the caller limits the time.

        Raises:
            UpstreamError: No usable answer.
        """

    async def close(self) -> None:
        """End what is kept open."""


def failure(error: OSError) -> UpstreamError:
    """What an error of the socket means."""
    words = error.strerror or type(error).__name__
    if error.errno in _OURS:
        return UpstreamError("local", f"this machine: {words}")
    return UpstreamError(_REASONS.get(error.errno or 0, "unreachable"), words)


_OURS = {
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM,
}  # fmt: skip
_REASONS: dict[int, Reason] = {
    errno.ECONNREFUSED: "refused", errno.ECONNRESET: "closed", errno.EPIPE: "closed",
}  # fmt: skip
