"""Whether nodes connect clients to their own loopback, asked of a real Dante and of one that refuses."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from proxywatch.balancer.facts.loopback import reaches_loopback
from proxywatch.balancer.facts.through import Through
from proxywatch.balancer.node import Node, Upstream
from testbed.danted import BINARY, danted
from testbed.faulty_socks import Talk, faulty


@pytest.fixture
async def asks() -> AsyncIterator[Through]:
    async with aclosing(Through(lambda _: None)) as through:
        yield through


def node(port: int) -> Node:
    return Node("se-1", "se", Upstream("socks5", "127.0.0.1", port))


@pytest.mark.skipif(not Path(BINARY).exists(), reason="needs danted")
async def test_a_dante_without_a_rule_connects(asks: Through, tmp_path: Path) -> None:
    """By the name, which it resolves itself."""
    with danted(tmp_path) as dante:
        assert await reaches_loopback(asks, node(dante.port)) is True


@pytest.mark.parametrize(
    ("code", "reached"), [(2, False), (3, False), (4, False), (5, True), (0, True), (1, None)]
)
async def test_a_block_is_a_no_and_a_refusal_a_yes(asks: Through, code: int, reached: bool | None) -> None:  # noqa: FBT001
    """Who was refused has tried; a general failure may be anything."""

    def script(talk: Talk) -> None:
        talk.greet()
        talk.reply(code)

    with faulty(script) as port:
        assert await reaches_loopback(asks, node(port)) is reached


async def test_a_node_that_is_away_says_nothing(asks: Through) -> None:
    """Neither yes nor no."""
    assert await reaches_loopback(asks, node(1)) is None
