"""One request, from the choice of a node to its yes or the client's no.

    Opening(relay, request, granted, refused).start()
    granted(choice, leg)      a node said yes
    refused(outcome)          none will; the outcome says what the client is told

A node that failed on its own account is followed by the next, as often as the choice allows. Nothing of the
client's data is sent before a node has said yes, so nothing is ever sent twice.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from proxywatch.balancer.attempt import Choice, Failure, Refusal
from proxywatch.balancer.node import Upstream
from proxywatch.balancer.relay import outcome
from proxywatch.balancer.relay.leg import Hop, Leg
from proxywatch.balancer.relay.outcome import Outcome
from proxywatch.balancer.request import Request
from proxywatch.parse import socks

if TYPE_CHECKING:
    from proxywatch.balancer.relay.server import Relay


class Opening:
    """Tries nodes until one opens the connection.

    Attributes:
        request: What the client asks for.
    """

    __slots__ = (
        "_choice", "_command", "_doubted", "_granted", "_last", "_leg", "_plain", "_refused", "_relay",
        "_tried", "request",
    )  # fmt: skip

    def __init__(
        self,
        relay: "Relay",
        request: Request,
        granted: Callable[[Choice, Leg], None],
        refused: Callable[[Outcome], None],
        *,
        command: int = socks.CONNECT,
        plain: bool = False,
    ) -> None:
        """Begin.

        Args:
            relay: Chooses, dials, counts.
            request: With a destination.
            granted: Called with the node that said yes.
            refused: Called with what the client is to be told.
            command: CONNECT or UDP_ASSOCIATE.
            plain: Whether a node that is an HTTP proxy gets the request itself rather than a CONNECT.
        """
        self._relay = relay
        self.request = request
        self._granted = granted
        self._refused = refused
        self._command = command
        self._plain = plain
        self._tried: tuple[str, ...] = ()
        self._last: Outcome | None = None
        self._doubted: tuple[Choice, Failure] | None = None
        self._leg: Leg | None = None
        self._choice: Choice

    def start(self) -> None:
        """Begin; it may be over before this returns."""
        self._choose()

    def _choose(self) -> None:
        chosen = self._relay.brain.choose(self.request, self._tried)
        if isinstance(chosen, Refusal):
            self._give_up(self._last or of_refusal(chosen))
            return
        self._choice = chosen
        hops = self._hops(chosen)
        if isinstance(hops, Outcome):
            self.failed(hops, Failure("self" if hops.blame == "self" else "destination", hops.reason, 0.0))
        else:
            self._leg = leg = Leg(self._relay, self, hops)
            leg.dial()

    def _hops(self, choice: Choice) -> tuple[Hop, ...] | Outcome:
        node = choice.node
        destination = self.request.destination
        assert destination is not None  # noqa: S101 - the relay always has one
        if self._command != socks.CONNECT and (node.via is not None or node.upstream.scheme != "socks5"):
            return outcome.NO_UDP
        plain = self._plain and node.upstream.scheme != "socks5"
        last = Hop(node.upstream, destination.host, destination.port, self._command, plain)
        if node.via is None:
            return (last,)
        first = node.via if isinstance(node.via, Upstream) else self._relay.upstream_of(node.via)
        if first is None:
            return outcome.NODE_VIA
        return (Hop(first, node.upstream.host, node.upstream.port), last)

    def granted(self, leg: Leg) -> None:
        """The node said yes."""
        if not self._relay.brain.permits(self._choice):
            leg.abandon()
            seconds = self._relay.now() - leg.started
            self.failed(outcome.EXIT_DRIFT, Failure("node", outcome.EXIT_DRIFT.reason, seconds))
            return
        self._leg = None
        if self._doubted is not None:
            self._blame_doubted(node=True)
        self._relay.brain.connected(self._choice, self._relay.now() - leg.started)
        granted, self._granted, self._refused = self._granted, _nobody, _nobody
        granted(self._choice, leg)

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
            self._choose()
        else:
            self._give_up(why)

    def _give_up(self, why: Outcome) -> None:
        self._blame_doubted(node=False)
        refused, self._granted, self._refused = self._refused, _nobody, _nobody
        refused(why)

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


def _nobody(*_: object) -> None:
    """Whoever asked has been told."""


def of_refusal(refusal: Refusal) -> Outcome:
    """What the client is told when no node is chosen."""
    base = outcome.DENIED if refusal.kind == "denied" else outcome.NO_NODE
    return replace(base, detail=refusal.reason)
