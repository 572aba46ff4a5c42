"""Pods as nodes, and the watch of a fake API server: resumed, expired, closed at once, forbidden."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.discovery import pods
from proxywatch.balancer.discovery.http import Server
from proxywatch.balancer.discovery.kubernetes import KubernetesSource
from proxywatch.balancer.discovery.pods import ExpiredError, Pods
from proxywatch.balancer.discovery.sighting import Sighting
from proxywatch.clock import SystemClock
from proxywatch.errors import ParseError, SourceError
from support.fake_apiserver import FakeApiserver, fake_apiserver, pod


def see(*documents: dict[str, Any]) -> Sighting:
    return Pods("1", [pods.read_list(listed(document)).items[0] for document in documents]).sighting()


def listed(*documents: dict[str, Any]) -> bytes:
    return json.dumps({"metadata": {"resourceVersion": "1"}, "items": documents}).encode()


def hosts(sighting: Sighting) -> dict[str, str]:
    return {name: f"{node.upstream.host}:{node.upstream.port}" for name, node in sighting.nodes.items()}


def test_a_pod_is_a_node() -> None:
    """Named ports, labels, annotations; known by its uid."""
    sighting = see(
        pod(
            city="got",
            server="se-got-wg-001",
            annotations={"proxywatch/tags": "fast,tv", "proxywatch/city": "sto"},
        ),
        pod("se-2", ip="2001:db8::2", port="1085", sidecar_port="9999", ports=[]),
    )
    node = sighting.nodes["se-1"]
    assert (node.city, node.server, node.tags, node.instance) == (
        "got",
        "se-got-wg-001",
        frozenset({"fast", "tv"}),
        "se-1-uid",
    )
    assert node.sidecar == "http://10.0.0.1:9090"
    assert hosts(sighting) == {"se-1": "10.0.0.1:1080", "se-2": "2001:db8::2:1085"}
    assert sighting.nodes["se-2"].sidecar == "http://[2001:db8::2]:9999"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (pod(deleted=True), "deleted"),
        (pod(disrupted=True), "disrupted"),
        (pod(phase="Failed"), "Failed"),
        (pod(phase="Succeeded", ready=False), "Succeeded"),
        (pod(ready=False), "not ready"),
        (pod(ip=""), "not ready"),
    ],
)
def test_a_pod_leaves_service_whatever_its_readiness_says(document: dict[str, Any], words: str) -> None:
    """Deleted pods stay ready for their whole grace period; on a shutdown only the phase tells."""
    sighting = see(document)
    assert not sighting.nodes
    assert words in sighting.leaving["se-1"].reason


def test_a_pod_that_replaces_one_of_its_name_counts() -> None:
    """While the one before is still being deleted."""
    sighting = see(pod(uid="old", deleted=True), pod(uid="new", ip="10.0.0.1"))
    assert sighting.nodes["se-1"].instance == "new"
    assert not sighting.leaving


def test_a_pod_that_is_described_wrongly_is_a_fault() -> None:
    """Which names it; the others are taken."""
    sighting = see(pod(country="Atlantis"), pod("se-2", port="0"), pod("se-3"))
    assert list(sighting.nodes) == ["se-3"]
    assert [fault.partition(":")[0] for fault in sighting.faults] == ["pod se-1", "pod se-2"]


def event(kind: str, document: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": document}).encode()


def test_events() -> None:
    """What changes nothing for us is no news; bookmarks move the version on; an error ends the watch."""
    known = Pods("1", [])
    assert known.take(event("ADDED", pod(version="6")))
    assert not known.take(event("MODIFIED", pod(version="7") | {"extra": 1}))
    assert known.version == "7"
    assert known.take(event("MODIFIED", pod(version="8", deleted=True)))
    assert not known.take(
        event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "90"}, "spec": {}})
    )
    assert known.version == "90"
    assert known.take(event("DELETED", pod(version="91")))
    assert not known.take(event("DELETED", pod(version="92")))
    assert not known.pods
    with pytest.raises(ExpiredError):
        known.take(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}))


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    """An event, or a ParseError."""
    with suppress(ParseError, ExpiredError):
        Pods("1", []).take(content)
    with suppress(ParseError):
        pods.read_list(content)


class Quick(SystemClock):
    """A clock on which seconds of waiting take a thousandth of that."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep_until(self, deadline: float) -> None:
        wait = deadline - self.monotonic()
        self.waits.append(wait)
        await super().sleep_until(self.monotonic() + wait / 1000)


@pytest.fixture
def server() -> Iterator[FakeApiserver]:
    with fake_apiserver() as serving:
        yield serving


def watch(
    server: FakeApiserver, clock: SystemClock | None = None, **more: str
) -> AsyncGenerator[Sighting, None]:
    return KubernetesSource(Server(server.url, **more), "vpn", "proxywatch/country", clock or Quick()).watch()


async def test_pods_come_change_and_go(server: FakeApiserver) -> None:
    """Listed in pages, then told by the watch; seen with the event, not later."""
    server.pods = [pod(f"se-{number}", ip=f"10.0.0.{number}") for number in range(1, 8)]
    server.page = 3
    watching = watch(server)
    assert list((await anext(watching)).nodes) == [f"se-{number}" for number in range(1, 8)]
    assert server.lists == 3
    task = asyncio.ensure_future(anext(watching))  # noqa: TID251 - awaited below
    server_tells(server, "ADDED", pod("se-9", ip="10.0.0.9", version="11"))
    assert "se-9" in (await task).nodes
    server.tell("MODIFIED", pod("se-9", ip="10.0.0.9", version="12", deleted=True))
    assert (await anext(watching)).leaving["se-9"].reason == "its pod is being deleted"
    server.tell("DELETED", pod("se-9", version="13"))
    gone = await anext(watching)
    assert "se-9" not in gone.nodes
    assert "se-9" not in gone.leaving
    assert "/api/v1/namespaces/vpn/pods?labelSelector=proxywatch%2Fcountry" in server.requests[0]


def server_tells(server: FakeApiserver, kind: str, document: dict[str, Any]) -> None:
    """As soon as there is a watch to tell."""

    def tell() -> None:
        while not server.streams:
            time.sleep(0.01)
        server.tell(kind, document)

    threading.Thread(target=tell, daemon=True).start()


async def test_a_watch_that_is_closed_goes_on_from_where_it_was(server: FakeApiserver) -> None:
    """From the version of the last event, without another list."""
    server.pods = [pod()]
    clock = Quick()
    watching = watch(server, clock)
    await anext(watching)
    task = asyncio.ensure_future(anext(watching))  # noqa: TID251 - awaited below
    server_tells(server, "MODIFIED", pod(version="77", ready=False))
    await task
    server.close_watches()
    task = asyncio.ensure_future(anext(watching))  # noqa: TID251 - awaited below
    server_tells(server, "MODIFIED", pod(version="78"))
    assert list((await task).nodes) == ["se-1"]
    assert server.watches == ["10", "77"]
    assert server.lists == 1
    assert 1 <= clock.waits[-1] <= 2


@pytest.mark.parametrize("how", ["event", "status"])
async def test_a_version_that_the_server_has_forgotten_is_listed_anew(
    server: FakeApiserver, how: str
) -> None:
    """What is not in the new list is gone; nothing is taken for deleted that is not."""
    server.pods = [pod("a"), pod("b", ip="10.0.0.2")]
    watching = watch(server)
    assert list((await anext(watching)).nodes) == ["a", "b"]
    server.pods = [pod("b", ip="10.0.0.2"), pod("c", ip="10.0.0.3")]
    server.watch_status = 410 if how == "status" else 200
    task = asyncio.ensure_future(anext(watching))  # noqa: TID251 - awaited below
    if how == "event":
        server_tells(
            server, "ERROR", {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired"}
        )
    assert list((await task).nodes) == ["b", "c"]
    assert server.lists == 2


async def test_a_server_that_closes_each_watch_at_once_is_spared(server: FakeApiserver) -> None:
    """At most ten requests in half a minute."""
    server.close_at_once = True
    server.pods = [pod()]

    class Half(Quick):
        async def sleep_until(self, deadline: float) -> None:
            await super().sleep_until(deadline)
            if sum(self.waits) > 30:
                raise SourceError("half a minute is over")

    watching = watch(server, Half())
    await anext(watching)
    with pytest.raises(SourceError, match="half a minute"):
        await anext(watching)
    assert len(server.requests) <= 10


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_server_that_refuses_is_a_failure(server: FakeApiserver, status: int) -> None:
    """With what is missing, where it is a right."""
    server.status = status
    with pytest.raises(SourceError, match=str(status)) as error:
        await anext(watch(server))
    assert ("`list` and `watch`" in str(error.value)) == (status in (401, 403))


async def test_a_watch_that_is_forbidden_is_a_failure(server: FakeApiserver) -> None:
    """Though the list was not."""
    server.watch_status = 403
    watching = watch(server)
    await anext(watching)
    with pytest.raises(SourceError, match="403"):
        await anext(watching)
