"""One request, from the choice of a node to its yes or the client's no.

    Opening(relay, request, asker).choose(now)
    asker.granted(choice, leg, now)     a node said yes
    asker.refuse(outcome)               none will; the outcome says what the client is told

A node that failed on its own account is followed by the next, as often as the choice allows. Nothing of the
client's data is sent before a node has said yes, so nothing is ever sent twice.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from proxywatch.balancer.attempt import Choice, Failure, Refusal
from proxywatch.balancer.node import Node, Upstream
from proxywatch.balancer.relay import outcome
from proxywatch.balancer.relay.leg import Hop, Leg
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.request import Request
from proxywatch.parse import socks

if TYPE_CHECKING:
    from proxywatch.balancer.relay.server import Relay


class Asker(Protocol):
    """Who wants it; told exactly once, and perhaps before `choose` returns."""

    def granted(self, choice: Choice, leg: Leg, now: float) -> None:
        """A node said yes."""

    def refuse(self, why: Outcome) -> None:
        """None will."""


class Opening:
    """Tries nodes until one opens the connection.

    Attributes:
        request: What the client asks for.
    """

    __slots__ = (
        "_asker", "_choice", "_command", "_doubted", "_last", "_leg", "_plain", "_relay", "_tried", "request",
    )  # fmt: skip

    def __init__(
        self,
        relay: "Relay",
        request: Request,
        asker: Asker,
        *,
        command: int = socks.CONNECT,
        plain: bool = False,
    ) -> None:
        """Begin.

        Args:
            relay: Chooses, dials, counts.
            request: With a destination.
            asker: Is told what became of it.
            command: CONNECT or UDP_ASSOCIATE.
            plain: Whether a node that is an HTTP proxy gets the request itself rather than a CONNECT.
        """
        self._relay = relay
        self.request = request
        self._asker = asker
        self._command = command
        self._plain = plain
        self._tried: tuple[str, ...] = ()
        self._last: Outcome | None = None
        self._doubted: tuple[Choice, Failure] | None = None
        self._leg: Leg | None = None
        self._choice: Choice

    def choose(self, now: float) -> None:
        """Choose a node and dial it; it may be over before this returns."""
        chosen = self._relay.brain.choose(self.request, self._tried)
        if isinstance(chosen, Refusal):
            self._give_up(self._last or of_refusal(chosen))
            return
        self._choice = chosen
        hops = self._hops(chosen.node)
        if isinstance(hops, Outcome):
            self.failed(hops, Failure("self" if hops.blame == "self" else "destination", hops.reason, 0.0))
        else:
            self._leg = leg = Leg(self._relay, self, hops, now)
            leg.dial()

    def _hops(self, node: Node) -> tuple[Hop, ...] | Outcome:
        destination = self.request.destination
        assert destination is not None  # noqa: S101 - the relay always has one
        upstream, via, command = node.upstream, node.via, self._command
        if command != socks.CONNECT and (via is not None or upstream.scheme != "socks5"):
            return outcome.NO_UDP
        plain = self._plain and upstream.scheme != "socks5"
        last = Hop(upstream, destination.host, destination.port, command, plain)
        if via is None:
            return (last,)
        first = via if isinstance(via, Upstream) else self._relay.upstream_of(via)
        if first is None:
            return outcome.NODE_VIA
        return (Hop(first, upstream.host, upstream.port), last)

    def granted(self, leg: Leg) -> None:
        """The node said yes."""
        relay, choice = self._relay, self._choice
        now = relay.now()
        if not relay.brain.permits(choice):
            leg.abandon()
            self.failed(outcome.EXIT_DRIFT, Failure("node", outcome.EXIT_DRIFT.reason, now - leg.started))
            return
        self._leg = None
        if self._doubted is not None:
            self._blame_doubted(node=True)
        relay.brain.connected(choice, now - leg.started)
        self._asker.granted(choice, leg, now)

    def failed(self, why: Outcome, failure: Failure) -> None:
        """The attempt failed: the next node, or the client's no."""
        self._leg = None
        self._last = why
        choice = self._choice
        self._tried += (choice.node.id,)
        again = failure.blame in {"node", "hop"} or (why.retry == "once" and self._doubted is None)
        again = again and choice.retries > 0
        if again and why.retry == "once":
            self._doubted = (choice, failure)  # the next exit's answer decides
        else:
            self._blame_doubted(node=False)
            self._relay.brain.failed(choice, failure)
        if again:
            self.choose(self._relay.now())
        else:
            self._give_up(why)

    def _give_up(self, why: Outcome) -> None:
        self._blame_doubted(node=False)
        self._asker.refuse(why)

    def _blame_doubted(self, *, node: bool) -> None:
        """Report what waited for a second answer: another exit reached the destination, or did not either."""
        if self._doubted is not None:
            choice, failure = self._doubted
            self._doubted = None
            self._relay.brain.failed(choice, replace(failure, blame="node") if node else failure)

    def abandon(self) -> None:
        """The client is gone."""
        self._blame_doubted(node=False)
        if self._leg is not None:
            self._leg.abandon()
            self._leg = None
            self._relay.brain.abandoned(self._choice)


def of_refusal(refusal: Refusal) -> Outcome:
    """What the client is told when no node is chosen."""
    base = outcome.DENIED if refusal.kind == "denied" else outcome.NO_NODE
    return replace(base, detail=refusal.reason)
