"""The choice among the sources of the active count, and their agreement over time."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from proxywatch.errors import NoData
from proxywatch.exporter.collector.active import ActiveCollector
from proxywatch.finding import Finding
from support.fakes import FakeClock
from support.metrics import labelled, samples

KNOWN: dict[str, int | None] = {"sockets": 5, "io": 4, "log": 6, "slots": 5, "processes": 17}


def collector(
    counts: dict[str, int | None], choice: str = "auto", clock: FakeClock | None = None
) -> ActiveCollector:
    return ActiveCollector(choice, {name: partial(counts.get, name) for name in KNOWN}, clock or FakeClock())


async def examined(active: ActiveCollector) -> Finding:
    """What it says of itself after the second that it gives to the others."""
    clock = active._clock
    assert isinstance(clock, FakeClock)

    async def look() -> Sequence[Finding]:
        return await active.examine()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(look())
        await clock.advance(1)
    [finding] = task.result()
    return finding


@pytest.mark.parametrize(
    ("missing", "expected", "source"),
    [
        ((), 5, "sockets"),
        (("sockets",), 4, "io"),
        (("sockets", "io"), 6, "log"),
        (("sockets", "io", "log"), None, ""),
    ],
)
def test_auto_takes_the_first_that_can_be_read(
    missing: tuple[str, ...], expected: int | None, source: str
) -> None:
    """In the order sockets, io, log; never processes."""
    active = collector(KNOWN | dict.fromkeys(missing))
    assert (active.status().connections, active.status().source) == (expected, source)
    assert samples(active).get("proxy_active_connections") == expected


@pytest.mark.parametrize("choice", ["sockets", "io", "log", "processes"])
async def test_a_source_that_is_chosen_is_taken_or_none(choice: str) -> None:
    """No other stands in for it."""
    assert collector(KNOWN, choice).status().connections == KNOWN[choice]
    blind = collector(KNOWN | {choice: None}, choice)
    assert blind.status().connections is None
    with pytest.raises(NoData, match=choice):
        await blind.update()
    finding = await examined(blind)
    assert (finding.level, choice in finding.text) == ("fault", True)


async def test_sources_that_disagree_for_a_minute() -> None:
    """The metric says which; agreement clears it."""
    clock = FakeClock()
    counts = KNOWN | {"sockets": 100, "slots": 60, "log": 98}
    active = collector(counts, clock=clock)
    for _ in range(7):
        await active.update()
        await clock.advance(10)
    assert labelled(active, "proxy_active_connections_disagreement") == {"log": 0.0, "slots": 0.0}
    await active.update()
    assert labelled(active, "proxy_active_connections_disagreement") == {"log": 0.0, "slots": 1.0}
    assert active.status().disagreeing == ["slots"]
    counts["slots"] = 90
    await active.update()
    assert active.status().disagreeing == []


def test_what_every_source_counts_is_told() -> None:
    """One that does not know is absent."""
    counted = labelled(collector(KNOWN | {"io": None}), "proxy_active_connections_by_source")
    assert counted == {"sockets": 5, "log": 6, "slots": 5, "processes": 17}


async def test_when_it_compares() -> None:
    """A second after the start, then every fifteen seconds."""
    clock = FakeClock()
    active = collector(KNOWN, clock=clock)
    start = clock.monotonic()
    due = []
    for _ in range(3):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(active.due())
            while not task.done():
                await clock.advance(0.5)
        due.append(clock.monotonic() - start)
    assert due == [1, 16, 31]


async def test_what_check_says() -> None:
    """The number, its source, and the others beside it."""
    finding = await examined(collector(KNOWN))
    assert finding.text == "5 active connections, from sockets (io 4, log 6, slots 5, processes 17)"
