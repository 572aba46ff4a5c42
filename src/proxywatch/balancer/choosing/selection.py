"""What choosing works with: where a request may be served, and what was selected for it."""

import msgspec

from proxywatch.balancer.choosing.affinity import Lease, Owner
from proxywatch.balancer.choosing.candidate import Candidate
from proxywatch.balancer.choosing.decision import Attempt, Decision, How
from proxywatch.balancer.choosing.geography import Fallback
from proxywatch.balancer.choosing.strategy.interface import Strategy
from proxywatch.balancer.request import Request


class Scope(msgspec.Struct, gc=False):
    """Where a request may be served, after rules.

    Attributes:
        country: By wish or rule; empty for any.
        asked: As the client spelled it.
        city: By wish or rule.
        server: By wish.
        tag: By rule.
        node: By wish or rule.
        strategy: By rule, wish or setting.
        fallback: Where to go when there is no usable node.
        rule: Name of the rule that decided, or empty.
    """

    country: str = ""
    asked: str = ""
    city: str = ""
    server: str = ""
    tag: str = ""
    node: str = ""
    strategy: str = ""
    fallback: Fallback = "none"
    rule: str = ""


class Ask(msgspec.Struct, gc=False):
    """One question to the pool.

    Attributes:
        scope: Where the request may be served.
        strategy: That chooses.
        tried: Nodes that failed for it.
        now: Monotonic seconds.
    """

    scope: Scope
    strategy: Strategy
    tried: tuple[str, ...]
    now: float


class Selection(msgspec.Struct, gc=False):
    """What was chosen, and all that the caller needs to act on it.

    Attributes:
        candidate: The node, or None.
        attempt: For the record.
        scope: After rules.
        strategy: That chose, or would have.
        owner: To whom a lease belongs, or None.
        lease: The owner's lease so far, or None.
        ttl: Idle seconds that the client wants for it; 0 for the configured time.
        keep_lease: Whether the lease stays where it is although this connection goes elsewhere.
        denied: Whether a rule or a limit of the user refused it.
        notes: In sentences, for the record.
    """

    candidate: Candidate | None
    attempt: Attempt
    scope: Scope
    strategy: str
    owner: Owner | None = None
    lease: Lease | None = None
    ttl: float = 0.0
    keep_lease: bool = False
    denied: bool = False
    notes: tuple[str, ...] = ()


def refusal(scope: Scope, now: float, reason: str, *, denied: bool = False) -> Selection:
    """The selection of nobody."""
    attempt = Attempt("none", (), (), 0, (), "", now, outcome="refused", reason=reason)
    return Selection(None, attempt, scope, scope.strategy, denied=denied)


def single(how: How, candidate: Candidate, ask: Ask, usable: int = 1) -> Selection:
    """The selection of a node that needs no comparison."""
    attempt = Attempt(how, (candidate.seen,), (candidate.in_flight,), usable, (), candidate.id, ask.now)
    return Selection(candidate, attempt, ask.scope, ask.strategy.name)


class Live(msgspec.Struct, gc=False):
    """A connection that is being opened, or is open."""

    decision: Decision
    candidate: Candidate
    request: Request
