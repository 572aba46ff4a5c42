"""What the tests of the forwarder share."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Every asynchronous test runs on both loops."""
    policies: dict[str, Callable[[], asyncio.AbstractEventLoopPolicy]] = {
        "asyncio": asyncio.DefaultEventLoopPolicy,
        "uvloop": uvloop.EventLoopPolicy,
    }
    return policies[request.param]()
