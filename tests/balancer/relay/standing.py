"""A relay that stands: in a thread with a loop of its own, before fake nodes, with a brain that keeps books.

    with relay(Settings(...), nodes) as standing:
        client = connect(standing.port, ("198.51.100.1", 80))

The brain offers nodes in the order given and notes every call; its books are checked when the relay ends:
every choice has been answered, and as many connections were opened as were closed.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import uvloop

from proxywatch.balancer.attempt import Choice, Failure, Refusal
from proxywatch.balancer.node import Node, Scheme, Upstream
from proxywatch.balancer.relay.observer import Connection
from proxywatch.balancer.relay.server import Relay
from proxywatch.balancer.relay.settings import Settings
from proxywatch.balancer.relay.users import Users
from proxywatch.balancer.request import Request
from proxywatch.quantity import Address

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
_Result = TypeVar("_Result")


def node(port: int, name: str = "n1", *, scheme: Scheme = "socks5", **more: Any) -> Node:
    """A node on loopback."""
    upstream = Upstream(scheme, "127.0.0.1", port, more.pop("username", ""), more.pop("password_file", ""))
    return Node(name, more.pop("country", "se"), upstream, **more)


@dataclass
class Brain:
    """Offers nodes in order, and keeps books.

    Attributes:
        requests: What was asked.
        failures: Node and failure, in order.
        closings: Node, bytes in and out, reason.
        refusal: What is answered instead of a node.
        drifted: Nodes that may not be used any more once they have answered.
    """

    nodes: Sequence[Node]
    retries: int = 2
    requests: list[Request] = field(default_factory=list)
    failures: list[tuple[str, Failure]] = field(default_factory=list)
    closings: list[tuple[str, int, int, str]] = field(default_factory=list)
    connects: list[str] = field(default_factory=list)
    abandoned_: list[str] = field(default_factory=list)
    in_flight: int = 0
    drifted: set[str] = field(default_factory=set)
    refusal: Refusal | None = None

    def choose(self, request: Request, tried: tuple[str, ...] = ()) -> Choice | Refusal:
        self.requests.append(request)
        left = [one for one in self.nodes if one.id not in tried]
        if self.refusal or not left:
            return self.refusal or Refusal("d", "no_node", "no usable node is left")
        self.in_flight += 1
        return Choice("d", len(tried) + 1, left[0], left[0].country, self.retries - len(tried))

    def permits(self, choice: Choice) -> bool:
        return choice.node.id not in self.drifted

    def connected(self, choice: Choice, seconds: float) -> None:
        assert seconds >= 0
        self.connects.append(choice.node.id)

    def failed(self, choice: Choice, failure: Failure) -> None:
        self.in_flight -= 1
        self.failures.append((choice.node.id, failure))

    def abandoned(self, choice: Choice) -> None:
        self.in_flight -= 1
        self.abandoned_.append(choice.node.id)

    def closed(self, choice: Choice, bytes_in: int, bytes_out: int, seconds: float, reason: str) -> None:
        assert seconds >= 0
        self.in_flight -= 1
        self.closings.append((choice.node.id, bytes_in, bytes_out, reason))

    @property
    def blamed(self) -> list[tuple[str, str, str]]:
        """Node, blame and reason of every failure."""
        return [(name, failure.blame, failure.reason) for name, failure in self.failures]


@dataclass
class Watcher:
    """Holds that at every instant opened is closed and active together."""

    relay: "Relay | None" = None
    open: dict[str, Connection] = field(default_factory=dict)
    opened_: list[Connection] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    closed_: int = 0
    passed_: dict[str, tuple[int, int]] = field(default_factory=dict)

    def _hold(self) -> None:
        assert len(self.opened_) == self.closed_ + len(self.open)
        assert self.relay is not None
        counts = self.relay.counts
        assert counts["opened"] == counts["closed"] + len(self.relay.sessions)

    def opened(self, connection: Connection) -> None:
        assert connection.id not in self.open
        self.open[connection.id] = connection
        self.opened_.append(connection)
        self._hold()

    def passed(self, connection: Connection, bytes_in: int, bytes_out: int) -> None:
        assert connection.id in self.open
        before = self.passed_.get(connection.id, (0, 0))
        self.passed_[connection.id] = before[0] + bytes_in, before[1] + bytes_out

    def closed(
        self, connection: Connection, bytes_in: int, bytes_out: int, seconds: float, reason: str
    ) -> None:
        assert min(bytes_in, bytes_out, seconds) >= 0
        assert self.passed_.get(connection.id, (0, 0)) == (bytes_in, bytes_out)
        assert reason
        del self.open[connection.id]
        self.closed_ += 1
        self._hold()

    def refused(self, spoken: str, reason: str, blame: str) -> None:
        self.refusals.append((spoken, reason, blame))


@dataclass
class Standing:
    """A running relay.

    Attributes:
        port: Where it listens, on 127.0.0.1.
    """

    relay: Relay
    brain: Brain
    watcher: Watcher
    port: int
    loop: asyncio.AbstractEventLoop

    def call(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """Call on the relay's own thread, and hand back what it returns."""

        async def run() -> _Result:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    def drain(self, seconds: float) -> None:
        """Drain, to the end."""
        asyncio.run_coroutine_threadsafe(self.relay.drain(seconds), self.loop).result(60)

    def wait(self, condition: Callable[[], bool], what: str = "it") -> None:
        """Until it is so."""
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.005)

    @property
    def active(self) -> int:
        """Connections that are open."""
        return len(self.relay.sessions)


def settings(**more: Any) -> Settings:
    """On a free port of loopback, and nothing denied, as the fake origins are on loopback."""
    return Settings(**({"listen": Address("127.0.0.1:0"), "deny": ()} | more))


@contextmanager
def relay(
    nodes: Sequence[Node] = (),
    given: Settings | None = None,
    *,
    loop: str = "uvloop",
    retries: int = 2,
    users: str = "",
    conserve: bool = True,
    **more: Any,
) -> Iterator[Standing]:
    """Run a relay until the block ends, then hold its books."""
    brain, watcher = Brain(nodes, retries), Watcher()
    ready: threading.Event = threading.Event()
    found: list[Any] = []

    async def serve() -> None:
        loop_errors: list[dict[str, Any]] = []
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: loop_errors.append(context))
        accounts = Users(users) if users else None
        own = given or settings()
        if users and not own.users_file:
            own = msgspec.structs.replace(own, users_file=users)
        async with Relay(own, brain, users=accounts, observer=watcher, **more) as one:
            watcher.relay = one
            end = asyncio.Event()
            found.extend((one, running, end, loop_errors))
            ready.set()
            await end.wait()
        if accounts:
            accounts.close()

    failure: list[BaseException] = []

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                runner.run(serve())
        except BaseException as error:  # noqa: BLE001 - told to the test
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    if failure:
        raise failure[0]
    one, running, end, loop_errors = found
    port = int(one.addresses[0].rpartition(":")[2])
    try:
        yield Standing(one, brain, watcher, port, running)
    finally:
        running.call_soon_threadsafe(end.set)
        thread.join(20)
    assert not thread.is_alive()
    if failure:
        raise failure[0]
    assert not loop_errors, loop_errors
    if conserve:
        assert brain.in_flight == 0
        assert len(watcher.opened_) == watcher.closed_
