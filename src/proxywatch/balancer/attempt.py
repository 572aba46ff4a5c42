"""One attempt to serve a request through a node: the choice, or why there is none, and how the attempt ended.

The relay asks a `Brain` for a choice, dials it, and reports back; it never learns how the choice came about.

    choose -> Choice   in flight + 1
      connected(choice, seconds)      the node said yes;  closed(choice) follows exactly once
      failed(choice, failure)         in flight - 1;      the relay may choose again with this node among `tried`
      abandoned(choice)               in flight - 1;      the client went away before the node answered: nobody's fault
    choose -> Refusal  nothing is in flight
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from proxywatch.balancer.node import Node
from proxywatch.balancer.request import Request

# Whose fault a failure is. `node`: it could not be reached, its proxy or its network failed; the next one may be tried.
# `destination`: the node did its part; the answer goes to the client. `self`: we are out of descriptors, ports or
# memory, or our own event loop was late; nobody is blamed.
Blame = Literal["node", "hop", "destination", "self"]


class Choice(msgspec.Struct, frozen=True, gc=False):  # made for every request: a dataclass takes 0.7 us
    """A node to dial for a request.

    Args:
        decision: Id of the recorded decision.
        attempt: 1 for the first node tried for the request.
        node: The node.
        route: Country of the node.
        retries: How many more nodes may be tried.
        substituted: Whether the node is in another country than was asked for.
    """

    decision: str
    attempt: int
    node: Node
    route: str
    retries: int
    substituted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no node serves a request.

    Args:
        decision: Id of the recorded decision.
        kind: `denied` by a rule or by the user's limits, or `no_node` that is usable.
        reason: One sentence for the client and the log.
    """

    decision: str
    kind: Literal["denied", "no_node"]
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed.

    Args:
        blame: Whose fault it is.
        reason: Short snake_case label from a closed set, for metrics (`dial_timeout`, `socks_general`, ...).
        seconds: From the dial to the failure.
    """

    blame: Blame
    reason: str
    seconds: float


class Brain(Protocol):
    """Chooses nodes and learns from what became of them. All calls return at once and do no I/O."""

    def choose(self, request: Request, tried: tuple[str, ...] = ()) -> Choice | Refusal:
        """Choose a node for the request, other than those already tried for it."""

    def permits(self, choice: Choice) -> bool:
        """Whether the node may still be used, now that it has answered: its exit may have drifted meanwhile."""

    def connected(self, choice: Choice, seconds: float) -> None:
        """The node opened the connection after so many seconds, dial and handshakes included."""

    def failed(self, choice: Choice, failure: Failure) -> None:
        """The attempt failed."""

    def abandoned(self, choice: Choice) -> None:
        """The client left before the node answered."""

    def closed(self, choice: Choice, bytes_in: int, bytes_out: int, seconds: float, reason: str) -> None:
        """A connection that was open has ended, after so many bytes from and to the client and so many seconds."""
