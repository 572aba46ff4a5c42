"""The document of the statistics, and the handler that is measured."""

import asyncio
from asyncio import TaskGroup
from dataclasses import dataclass, field
from random import Random
from typing import Self

import msgspec
import pytest

from proxywatch.dns.answer import Answer, Transport
from proxywatch.dns.cache import Cache, Terms
from proxywatch.dns.measured import Measured
from proxywatch.dns.resolver import Counts
from proxywatch.dns.settings import Settings, UpstreamUrl, Via
from proxywatch.dns.statistics import statistics
from proxywatch.dns.upstream import assemble
from support.dns_messages import query
from support.fakes import FakeClock


@dataclass(frozen=True)
class Name:
    """A name that is asked for often."""

    domain: str
    count: int
    error: int


@dataclass(frozen=True)
class Figures:
    """What whoever watches would tell."""

    by_type: dict[str, int] = field(default_factory=lambda: {"A": 2, "AAAA": 1})
    by_source: dict[str, int] = field(default_factory=lambda: {"udp": 3})
    by_response_code: dict[str, int] = field(default_factory=lambda: {"NOERROR": 3})

    def get_queries_per_second(self) -> float:
        return 0.3

    def get_counts(self) -> Self:
        return self

    def get_top_domains(self, limit: int = 10) -> list[Name]:
        return [Name("a.test", 2, 0), Name("b.test", 1, 0)][:limit]


async def test_the_document() -> None:
    settings = Settings(upstream=(UpstreamUrl.parse("9.9.9.9"),), via=Via("direct"))
    async with TaskGroup() as group:
        pool = assemble.pool(settings, group, FakeClock(), Random(1))
        counts, cache = Counts(queries=3, hits=1, misses=1, uncacheable=1), Cache(Terms())
        made = statistics(Figures(), counts, cache, pool, now=0.0, limit=1)
    document = msgspec.json.decode(msgspec.json.encode(made))
    assert document == {
        "queries": 3,
        "queries_per_second": 0.3,
        "by_type": {"A": 2, "AAAA": 1},
        "by_source": {"udp": 3},
        "response_codes": {"NOERROR": 3},
        "cache": {"hits": 1, "misses": 1, "uncacheable": 1, "hit_rate": 0.5, "stale": 0, "entries": 0,
                  "bytes": 0, "evicted": 0},
        "top_domains": [{"domain": "a.test", "count": 2, "error": 0}],
        "upstreams": [{"name": "udp://9.9.9.9", "up": True, "answers": 0, "failures": 0, "mismatched": 0}],
    }  # fmt: skip


async def test_a_rate_of_nothing_is_null() -> None:
    """F51: no queries, no hit rate."""
    settings = Settings(upstream=(UpstreamUrl.parse("9.9.9.9"),), via=Via("direct"))
    async with TaskGroup() as group:
        pool = assemble.pool(settings, group, FakeClock(), Random(1))
        made = statistics(Figures(), Counts(), Cache(Terms()), pool, now=0.0)
    assert made.cache.hit_rate is None


class Meter:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def begin(self, message: object, *, source: str = "udp", client: str = "") -> Self:
        self.told.append((message, source, client))
        return self

    def answer(self, response: object, *, cached: bool | None = None) -> bool:
        self.told.append((response, cached))
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.told.append(error[0])


class Fixed:
    """Answers with what it was given, or fails."""

    def __init__(self, answer: Answer | BaseException) -> None:
        self.given = answer

    async def answer(self, query: bytes, transport: Transport, client: str) -> Answer:  # noqa: ARG002 - the protocol
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(b"x", "hit"), (b"x", True)),
        (Answer(b"x", "miss"), (b"x", False)),
        (Answer(b"x", "uncacheable"), (b"x", None)),
        (Answer(b"", "uncacheable"), (None, None)),
    ],
)
async def test_a_measured_handler_answers_the_same(answer: Answer, told: object) -> None:
    meter = Meter()
    assert await Measured(Fixed(answer), meter).answer(query(), "tcp", "10.0.0.1") == answer
    assert meter.told == [(query(), "tcp", "10.0.0.1"), told, None]


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError()])
async def test_a_measured_handler_fails_the_same(error: BaseException) -> None:
    meter = Meter()
    with pytest.raises(type(error)):
        await Measured(Fixed(error), meter).answer(query(), "udp", "10.0.0.1")
    assert meter.told[1:] == [type(error)]
