"""Where exits are: what two services say is believed, for each family, and nothing less."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from proxywatch.balancer.choosing.settings import Exit
from proxywatch.balancer.facts.exits import Exits, sighted
from proxywatch.balancer.facts.through import Reply
from proxywatch.balancer.node import Node
from proxywatch.probe import identity
from proxywatch.probe.identity import Identity
from proxywatch.probe.request import Request
from proxywatch.quantity import Url
from support.fakes import FakeClock
from support.pools import Bench, node
from support.probing import failure, success

V4, V6 = "203.0.113.7", "2001:db8::7"


def said(address: str = V4, country: str = "se") -> bytes:
    return json.dumps({"ip": address, **({"country_code": country} if country else {})}).encode()


def seen(*answers: tuple[str, str]) -> Any:
    return sighted([identity.parse(said(*answer)) for answer in answers])


@pytest.mark.parametrize(
    ("answers", "country", "six", "words"),
    [
        ([(V4, "se"), (V4, "se")], "se", "", ""),
        ([(V4, "se"), (V4, "de"), (V4, "se")], "se", "", ""),
        ([(V4, "se"), (V4, "de")], "", "", "disagree: de, se"),
        ([(V4, "se")], "", "", "only one service"),
        ([(V4, ""), (V4, "se")], "", "", "only one service"),
        ([(V4, ""), (V4, "")], "", "", "no service names"),
        ([(V4, "se"), (V4, "se"), (V6, "de"), (V6, "de")], "se", "de", ""),
        ([(V4, "se"), (V4, "se"), (V6, "de")], "se", "", ""),
        ([(V6, "se"), (V6, "se")], "", "se", ""),
        ([("203.0.113.7", "se"), ("203.0.113.8", "se")], "se", "", ""),
        ([], "", "", ""),
    ],
)
def test_what_two_services_say_is_believed(
    answers: list[tuple[str, str]], country: str, six: str, words: str
) -> None:
    """One alone may have data of last month; where they disagree nothing is known."""
    state = seen(*answers)
    assert (state.country, state.country_ipv6) == (country, six)
    assert words in state.fault


def test_a_country_by_its_name_counts_with_its_code() -> None:
    """As services differ in that."""
    assert sighted([Identity(V4, country="Sweden"), Identity(V4, code="se")]).country == "se"


def test_one_service_alone_is_refused() -> None:
    """Nobody could confirm it."""
    with pytest.raises(ValueError, match="two or more"):
        Exit(urls=(Url("http://a.example/"),))


class Services:
    """Services that answer as told, through each node."""

    def __init__(self) -> None:
        self.answers: Mapping[str, bytes | None] = {}
        self.own: Mapping[str, bytes | None] = {}

    async def ask(self, _: Node, request: Request) -> Reply:
        return self._reply(self.answers, request)

    async def ask_directly(self, request: Request) -> Reply:
        return self._reply(self.own, request)

    def _reply(self, answers: Mapping[str, bytes | None], request: Request) -> Reply:
        body = answers.get(request.url)
        if body is None:
            return Reply(failure(request, "socks", "general"), reason="socks: general")
        return Reply(success(request), body)


class Looking:
    """A pool whose exits are looked at."""

    def __init__(self, *names: str, verify: str = "preferred") -> None:
        self.bench = Bench(*names, exit={"verify": verify})
        self.services = Services()
        self.clock = clock = FakeClock()
        clock._monotonic = self.bench.time.now
        self.urls = [f"http://{letter}.example/" for letter in "abc"]
        settings = Exit(urls=tuple(map(Url, self.urls)))
        self.exits = Exits(self.services, self.bench.brain, lambda: settings, clock)

    async def look(self, *bodies: bytes | None) -> str:
        self.bench.time.now += 1
        self.clock._monotonic = self.bench.time.now
        self.services.answers = dict(zip(self.urls, bodies, strict=False))
        await self.exits.look(node("se-1"))
        candidate = self.bench.brain.pool.roster.get("se-1")
        assert candidate is not None
        return candidate.standing.kind


async def test_a_sighting_verifies_a_node_and_a_drift_ejects_it() -> None:
    """With the look that shows it."""
    looking = Looking("se-1", "se-2", verify="required")
    assert await looking.look(None, None, None) == "unverified"
    assert await looking.look(said(), b"nonsense", None) == "unverified"
    assert await looking.look(said(), said(), None) == "ready"
    assert await looking.look(said(V4, "de"), said(), None) == "ready"
    assert await looking.look(said(V4, "de"), said(V4, "de"), None) == "wrong_exit"


async def test_an_ipv6_exit_in_another_country_is_a_wrong_exit() -> None:
    """Though the IPv4 one is right."""
    looking = Looking("se-1", "se-2")
    looking.urls.append("http://d.example/")
    looking.exits._settings = lambda: Exit(urls=tuple(map(Url, looking.urls)))
    assert await looking.look(said(), said(), said(V6, "de"), said(V6, "de")) == "wrong_exit"


async def test_our_own_address_as_an_exit_is_a_wrong_exit_in_any_country() -> None:
    """Seen by the guard's direct look, which tells nothing else."""
    looking = Looking("se-1", "se-2")
    looking.services.own = {looking.urls[0]: said("198.51.100.9", "se")}
    await looking.exits.look_at_uplink()
    looking.bench.brain.pool.uplinks = looking.exits.uplinks
    assert looking.exits.uplinks == {"198.51.100.9"}
    assert await looking.look(said("198.51.100.9"), said("198.51.100.9"), None) == "wrong_exit"


async def test_a_look_that_shows_nothing_says_why() -> None:
    """And is counted."""
    looking = Looking("se-1")
    await looking.look(None, None, None)
    state = looking.exits.states["se-1"]
    assert (state.fault, state.looks, state.failures) == ("socks: general", 1, 1)
