"""A TCP socket as the kernel lists it, and how it stands with the server that listens on its port.

The inode tells whose it is. A socket without one belongs to no process: the server has not accepted it yet
(established, or left again by its client), or has closed it and the kernel alone waits for its client.
"""

from typing import NamedTuple

from proxywatch.errors import ParseError

STATES = (
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "syn_recv",
)
"""By the kernel's number less one (include/net/tcp_states.h); the last is a request in the handshake."""

HELD = ("established", "fin_wait1", "fin_wait2", "close_wait", "last_ack", "closing")
"""The states in which a server can hold a client's connection; half closed in all but the first."""

_PENDING = ("established", "close_wait")


class Socket(NamedTuple):
    """One row.

    Attributes:
        state: One of STATES.
        inode: 0 when no process holds it.
        queue: Bytes received and not read; of a listening one, connections that wait to be accepted.
    """

    state: str
    inode: int
    queue: int

    @property
    def served(self) -> bool:
        """Whether it is a connection that the server holds."""
        return self.inode != 0 and self.state in HELD

    @property
    def standing(self) -> str:
        """Its state while the server holds it; `backlog` before, `ended` after."""
        if self.inode or self.state in ("listen", "syn_recv"):
            return self.state
        return "backlog" if self.state in _PENDING else "ended"


STANDINGS = (*HELD, "syn_recv", "backlog", "ended")
"""What `Socket.standing` can be for a connection that is not in TIME_WAIT."""


def state(number: int) -> str:
    """The name of the kernel's number.

    Raises:
        ParseError: No such state.
    """
    if not 1 <= number <= len(STATES):
        raise ParseError(f"TCP state {number} is not known")
    return STATES[number - 1]
