"""A connection is counted exactly once at each end, whatever happens in between."""

import asyncio
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxywatch.instrument import (
    Connection,
    ConnectionClosed,
    ConnectionOpened,
    MetricsAwareProxy,
    Throughput,
)
from support.fakes import FakeClock


class Noted:
    """A proxy on a clock of its own, and the events that it tells."""

    def __init__(self, capacity: int = 4096) -> None:
        self.clock = FakeClock(now=5000.0)
        self.proxy = MetricsAwareProxy(
            clock=self.clock.monotonic, time=self.clock.now, ids="t", capacity=capacity
        )
        self.opened: list[ConnectionOpened] = []
        self.closed: list[ConnectionClosed] = []
        self.proxy.on("connection-open", self.opened.append, inline=True)
        self.proxy.on("connection-close", self.closed.append, inline=True)


def later(clock: FakeClock, seconds: float) -> None:
    asyncio.run(clock.advance(seconds))


def test_events() -> None:
    """Both carry the same id and place; the second adds duration, bytes and reason."""
    noted = Noted()
    connection = noted.proxy.open(type="socks5", route="se", node="se-1", client="10.0.0.9")
    connection.received(10)
    connection.sent(20)
    connection.sent(1)
    later(noted.clock, 2.5)
    assert connection.close("exit_drift")
    assert not connection.close("error")
    assert noted.opened == [ConnectionOpened("t-1", "socks5", "se", "se-1", "10.0.0.9", 5000.0)]
    assert noted.closed == [
        ConnectionClosed("t-1", "socks5", "se", "se-1", "10.0.0.9", 5002.5, 2.5, 10, 21, "exit_drift")
    ]
    assert (noted.opened[0].name, noted.closed[0].name) == ("connection-open", "connection-close")


def test_statistics() -> None:
    """Open connections by route, node and type; totals; rates over whole seconds."""
    noted = Noted()
    proxy = noted.proxy
    first = proxy.open(type="socks5", route="se", node="se-1")
    second = proxy.open(type="http", route="se", node="se-2")
    third = proxy.open(type="http", route="gb", node="gb-1")
    second.requested()
    first.received(100)
    third.sent(300)
    third.close()
    assert proxy.get_active_connections() == 2
    assert proxy.get_connections_by_route() == {"se": 2, "gb": 0}
    assert proxy.get_connections_by_node() == {"se-1": 1, "se-2": 1, "gb-1": 0}
    assert proxy.get_connections_by_type() == {"socks5": 1, "http": 1}
    assert proxy.get_total_connections() == 3
    assert proxy.get_total_bytes() == (100, 300)
    assert proxy.get_requests_per_second(1) == 0.0
    later(noted.clock, 1.0)
    assert proxy.get_requests_per_second(1) == 4.0
    assert proxy.get_throughput(1) == Throughput(100.0, 300.0)
    later(noted.clock, 9.0)
    assert proxy.get_throughput(1) == Throughput(0.0, 0.0)
    assert proxy.get_throughput(10) == Throughput(10.0, 30.0)


def test_unknown_types_are_other() -> None:
    """Also a type that a client could choose makes no new series; the event has it as given."""
    noted = Noted()
    noted.proxy.open(type="gopher")
    assert noted.proxy.get_connections_by_type() == {"other": 1}
    assert noted.opened[0].type == "gopher"


def test_reasons_are_bounded() -> None:
    """A reason made up for each connection fills no memory."""
    noted = Noted()
    for number in range(100):
        noted.proxy.open().close(f"reason {number}")
    _, reasons = noted.proxy.ledger.books()
    assert len(reasons) == 33
    assert sum(reasons.values()) == 100
    assert reasons["other"] == 68


def test_nodes_come_and_go() -> None:
    """Idle nodes are given up for new ones and stay in the totals; with none idle, `other` is used."""
    noted = Noted(capacity=3)
    for number in range(10):
        noted.proxy.open(node=f"n{number}").close()
    assert list(noted.proxy.get_connections_by_node()) == ["n7", "n8", "n9"]
    assert noted.proxy.get_total_connections() == 10
    for number in range(5):
        noted.proxy.open(node=f"m{number}").received(1)
    assert noted.proxy.get_connections_by_node() == {"m0": 1, "m1": 1, "m2": 1, "other": 2}
    total = noted.proxy.get_totals()
    assert (total.opened, total.active, total.closed, total.bytes_in) == (15, 5, 10, 5)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "closed"),
        (ValueError(), "error"),
        (ConnectionResetError(), "lost"),
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "error"),
    ],
)
def test_as_a_context_manager(error: BaseException | None, reason: str) -> None:
    """The end of the block gives the reason, and the same error goes on."""
    noted, raised = Noted(), None
    try:
        with noted.proxy.open():
            if error is not None:
                raise error  # noqa: TRY301
    except BaseException as it:  # noqa: BLE001
        raised = it
    assert raised is error
    assert [event.reason for event in noted.closed] == [reason]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "twice", "in", "out", "wait"]), st.integers(0, 9), st.integers(0, 3)
    ),
    max_size=200,
)


@given(STEPS, st.integers(1, 5))
@example([("open", 0, 0), ("open", 0, 1), ("close", 1, 0), ("open", 0, 1), ("open", 1, 0)], 1)
def test_conservation(steps: list[tuple[str, int, int]], capacity: int) -> None:
    """Opened = closed + active at every moment, in all and in each account; an own count agrees."""
    noted = Noted(capacity)
    now, open_, truth = [noted.clock.monotonic()], list[Connection](), Counter[str]()
    noted.proxy.clock = lambda: now[0]
    for step, which, size in steps:
        if step == "open":
            open_.append(noted.proxy.open(node=f"n{which}", route=f"r{size}"))
            truth["opened"] += 1
        elif step == "wait":
            now[0] += size / 2
        elif open_:
            one = open_[which % len(open_)]
            match step:
                case "in":
                    one.received(size)
                    truth["in"] += size
                case "out":
                    one.sent(size)
                    truth["out"] += size
                case _:
                    assert one.close()
                    assert step != "twice" or not one.close()
                    open_.remove(one)
                    truth["closed"] += 1
        total = noted.proxy.get_totals()
        assert (total.opened, total.closed, total.active) == (truth["opened"], truth["closed"], len(open_))
        assert (total.bytes_in, total.bytes_out) == (truth["in"], truth["out"])
        accounts, reasons = noted.proxy.ledger.books()
        assert all(it.opened == it.closed + it.active for it in accounts)
        assert sum(it.active for it in accounts) == len(open_)
        assert sum(reasons.values()) == truth["closed"]
        assert len(accounts) <= capacity + 1
    assert len(noted.opened) == truth["opened"]
    assert len({event.connection_id for event in noted.closed}) == truth["closed"]
