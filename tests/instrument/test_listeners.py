"""Listeners hear of events and can neither hold up nor break whoever tells them."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrument.loops import Loop, both_loops, run, until
from proxywatch.instrument import ConnectionClosed, ConnectionOpened, Delivery, MetricsAwareProxy


def opened(proxy: MetricsAwareProxy, count: int) -> None:
    for _ in range(count):
        proxy.open().close()


@both_loops
def test_coroutine_function(new_loop: Loop) -> None:
    """It hears of all in order, also of what came before it ran, and is done when the block is left."""
    proxy, heard = MetricsAwareProxy(ids="x"), list[str]()

    async def hear(event: ConnectionOpened) -> None:
        await asyncio.sleep(0)
        heard.append(event.connection_id)

    async def main() -> None:
        subscription = proxy.on("connection-open", hear)
        opened(proxy, 2)
        async with proxy:
            opened(proxy, 2)
            proxy.on("connection-open", hear)
            opened(proxy, 1)
        assert subscription.delivery == Delivery(5, 0, 0, 0)

    run(new_loop, main())
    assert sorted(heard) == ["x-1", "x-2", "x-3", "x-4", "x-5", "x-5"]


@both_loops
def test_told_from_another_thread(new_loop: Loop) -> None:
    """A loop that sleeps is woken."""
    proxy, heard = MetricsAwareProxy(), list[ConnectionOpened]()

    async def hear(event: ConnectionOpened) -> None:
        heard.append(event)

    async def main() -> None:
        proxy.on("connection-open", hear)
        async with proxy:
            await asyncio.sleep(0.01)
            await asyncio.to_thread(opened, proxy, 3)
            await until(lambda: len(heard) == 3)

    run(new_loop, main())


async def test_slow_listener_loses_events() -> None:
    """One that never returns holds nobody up: what does not fit is lost, and the block can be left."""
    proxy = MetricsAwareProxy(grace=0.01)

    async def hang(_event: ConnectionOpened) -> None:
        await asyncio.Event().wait()

    subscription = proxy.on("connection-open", hang, size=10)
    async with proxy:
        opened(proxy, 100)
        await asyncio.sleep(0)
        assert subscription.delivery == Delivery(0, 0, 90, 10)
    assert subscription.delivery == proxy.delivery == Delivery(0, 0, 100, 0)


def test_plain_function_that_blocks() -> None:
    """It blocks its own thread; what does not fit is counted as lost."""
    proxy, go, entered = MetricsAwareProxy(), threading.Event(), threading.Event()

    def block(_event: ConnectionOpened) -> None:
        entered.set()
        go.wait()

    subscription = proxy.on("connection-open", block, size=5)
    opened(proxy, 1)
    entered.wait()
    opened(proxy, 9)
    assert subscription.delivery == Delivery(0, 0, 5, 5)
    go.set()
    asyncio.run(until(lambda: subscription.delivery == Delivery(5, 0, 5, 0)))
    subscription.cancel()
    opened(proxy, 1)
    assert proxy.delivery == Delivery(5, 0, 5, 0)


FAULTS = [ValueError, asyncio.CancelledError, SystemExit, KeyboardInterrupt]


@pytest.mark.parametrize("fault", FAULTS)
def test_plain_function_that_raises(fault: type[BaseException]) -> None:
    """Whatever it raises is counted and goes nowhere."""
    proxy = MetricsAwareProxy()

    def fail(_event: ConnectionClosed) -> None:
        raise fault

    subscription = proxy.on("connection-close", fail)
    opened(proxy, 3)
    asyncio.run(until(lambda: subscription.delivery == Delivery(0, 3, 0, 0)))


@pytest.mark.parametrize("fault", FAULTS[:2])
def test_inline_function_that_raises(fault: type[BaseException]) -> None:
    """Not even one that is called at once breaks anything, nor looks like a cancellation."""
    proxy = MetricsAwareProxy()

    def fail(_event: ConnectionClosed) -> None:
        raise fault

    subscription = proxy.on("connection-close", fail, inline=True)
    opened(proxy, 3)
    assert subscription.delivery == Delivery(0, 3, 0, 0)


@pytest.mark.parametrize("fault", FAULTS[:2])
async def test_coroutine_function_that_raises(fault: type[BaseException]) -> None:
    """The task lives on."""
    proxy = MetricsAwareProxy()

    async def fail(event: ConnectionClosed) -> None:
        if event.reason == "bad":
            raise fault

    subscription = proxy.on("connection-close", fail)
    async with proxy:
        proxy.open().close("bad")
        proxy.open().close()
    assert subscription.delivery == Delivery(1, 1, 0, 0)


async def test_busy_coroutine_leaves_the_loop_to_others() -> None:
    """A listener that never waits is interrupted between events."""
    proxy, turns = MetricsAwareProxy(), list[int]()

    async def hear(_event: ConnectionOpened) -> None:
        turns.append(0)

    proxy.on("connection-open", hear)
    opened(proxy, 100)
    async with proxy:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(turns) < 100
    assert len(turns) == 100


@pytest.mark.parametrize("inline", [True, False])
def test_function_that_makes_a_coroutine(inline: bool) -> None:  # noqa: FBT001
    """A plain function whose result nobody would await is counted as failed."""
    proxy = MetricsAwareProxy()

    async def hear(_event: ConnectionOpened) -> None: ...

    subscription = proxy.on("connection-open", lambda event: hear(event), inline=inline)  # noqa: PLW0108
    opened(proxy, 1)
    asyncio.run(until(lambda: subscription.delivery == Delivery(0, 1, 0, 0)))


async def test_body_that_raises() -> None:
    """An error in the block comes out as it is, after the listeners' end."""
    proxy = MetricsAwareProxy()

    async def hear(_event: ConnectionOpened) -> None: ...

    proxy.on("connection-open", hear)
    with pytest.raises(KeyError):
        async with proxy:
            raise KeyError
    assert not proxy.delivery.waiting


def test_refusals() -> None:
    """An unknown event, a queue for nothing, and a coroutine function called inline are refused."""
    proxy = MetricsAwareProxy()
    with pytest.raises(ValueError, match="no event 'connection'"):
        proxy.on("connection", print)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="at least one event"):
        proxy.on("connection-open", print, size=0)
    with pytest.raises(ValueError, match="inline"):
        proxy.on("connection-open", asyncio.sleep, inline=True)  # type: ignore[call-overload]


@given(st.lists(st.sampled_from(["tell", "run", "cancel"]), max_size=40), st.integers(1, 5))
def test_every_event_is_accounted_for(steps: list[str], size: int) -> None:
    """Delivered, failed, lost and waiting add up to what was told, at every moment."""

    async def main() -> None:
        proxy, told = MetricsAwareProxy(grace=0), 0
        numbers = iter(range(10**6))

        async def hear(_event: ConnectionOpened) -> None:
            await asyncio.sleep(0)
            if next(numbers) % 3 == 0:
                raise ValueError

        subscription = proxy.on("connection-open", hear, size=size)
        listening = True
        async with proxy:
            for step in steps:
                actions: dict[str, Callable[[], object]] = {
                    "tell": lambda: opened(proxy, 1),
                    "cancel": subscription.cancel,
                    "run": lambda: None,
                }
                actions[step]()
                told += step == "tell" and listening
                listening = listening and step != "cancel"
                await asyncio.sleep(0)
                assert sum(proxy.delivery) == sum(subscription.delivery) == told
        assert sum(proxy.delivery) == told

    asyncio.run(main())
