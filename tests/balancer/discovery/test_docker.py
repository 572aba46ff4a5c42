"""Containers as nodes: whose address it is, and a fake engine that changes, breaks off and comes back."""

import asyncio
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.discovery import containers
from proxywatch.balancer.discovery.docker import DockerSource
from proxywatch.balancer.discovery.sighting import Sighting
from proxywatch.clock import SystemClock
from proxywatch.errors import ParseError, SourceError


def inspected(
    name: str, *, mode: str = "bridge", networks: dict[str, str] | None = None, running: bool = True,
    health: str = "", identity: str = "", **labels: str,
) -> dict[str, Any]:  # fmt: skip
    """What an engine says of a container."""
    labels = {f"proxywatch.{key}": value for key, value in labels.items()}
    addresses = {"bridge": "172.17.0.2"} if networks is None and mode == "bridge" else networks or {}
    return {
        "Id": identity or f"{name}-id", "Name": f"/{name}", "Created": "2026-11-28T00:00:00Z",
        "State": {"Status": "running", "Running": running, "Paused": False, "Pid": 1}
        | ({"Health": {"Status": health, "FailingStreak": 0, "Log": None}} if health else {}),
        "Config": {"Image": "x", "Labels": labels or None, "Env": ["SECRET=x"]},
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": {
            network: {"IPAddress": address, "GlobalIPv6Address": "", "Aliases": None}
            for network, address in addresses.items()
        }},
    }  # fmt: skip


def see(*documents: dict[str, Any], network: str = "") -> Sighting:
    read = [containers.read(json.dumps(document).encode()) for document in documents]
    labelled = [it for it in read if it.config.labels]
    return containers.sighting(labelled, {it.id: it for it in read}, network, "192.0.2.1")


def hosts(sighting: Sighting) -> dict[str, str]:
    return {name: f"{node.upstream.host}:{node.upstream.port}" for name, node in sighting.nodes.items()}


def test_a_container_with_an_address_of_its_own() -> None:
    """Its labels describe it; it is known by its id."""
    sighting = see(inspected("se-1", country="se", city="got", port="1085", sidecar_port="9090", tags="fast"))
    node = sighting.nodes["se-1"]
    assert (node.country, node.city, node.tags, node.instance) == (
        "se",
        "got",
        frozenset({"fast"}),
        "se-1-id",
    )
    assert hosts(sighting) == {"se-1": "172.17.0.2:1085"}
    assert node.sidecar == "http://172.17.0.2:9090"


def test_a_container_in_anothers_network_has_that_ones_address() -> None:
    """Also over two of them; it is followed by id."""
    sighting = see(
        inspected("dante", mode="container:vpn-id", country="se"),
        inspected("probe", mode="container:dante-id", country="se", id="se-9"),
        inspected("vpn", networks={"net": "172.20.0.5"}),
    )
    assert hosts(sighting) == {"dante": "172.20.0.5:1080", "se-9": "172.20.0.5:1080"}


def test_an_owner_that_was_made_anew_leaves_an_orphan() -> None:
    """Under the same name, by another id: the container hangs on what is gone."""
    sighting = see(
        inspected("dante", mode="container:vpn-id", country="se"),
        inspected("vpn", identity="vpn-id-2", networks={"net": "172.20.0.5"}),
    )
    assert not sighting.nodes
    assert sighting.leaving["dante"].at_once
    assert "network owner gone" in sighting.leaving["dante"].reason
    assert "network owner gone" in sighting.faults[0]


def test_the_hosts_network_has_the_address_of_the_settings() -> None:
    """It has none of its own."""
    assert hosts(see(inspected("se-1", mode="host", country="se"))) == {"se-1": "192.0.2.1:1080"}


def test_of_several_networks_one_must_be_named() -> None:
    """By label, or in the settings; else a fault that names them, the same at every look."""
    networks = {"front": "172.20.0.2", "back": "172.21.0.2", "vpn": "172.22.0.2"}
    dice = Random(1)
    for _ in range(100):
        shuffled = dict(dice.sample(list(networks.items()), 3))
        assert hosts(see(inspected("a", networks=shuffled, country="se", network="vpn"))) == {
            "a": "172.22.0.2:1080"
        }
        assert hosts(see(inspected("a", networks=shuffled, country="se"), network="back")) == {
            "a": "172.21.0.2:1080"
        }
        assert see(inspected("a", networks=shuffled, country="se")).faults == (
            "a: expected one network, or the label proxywatch.network; it is on back, front, vpn",
        )
    assert (
        "not on the network x" in see(inspected("a", networks=networks, country="se", network="x")).faults[0]
    )


def test_a_container_that_is_no_use_is_no_node() -> None:
    """Stopped, without an address, unhealthy, or described wrongly."""
    sighting = see(
        inspected("stopped", running=False, country="se"),
        inspected("nowhere", networks={"none": ""}, country="se"),
        inspected("unhealthy", health="unhealthy", country="se"),
        inspected("starting", health="starting", country="se"),
        inspected("wrong", country="Atlantis"),
    )
    assert set(sighting.nodes) == {"starting"}
    assert set(sighting.leaving) == {"stopped", "unhealthy"}
    assert [fault.partition(":")[0] for fault in sighting.faults if "run" not in fault] == [
        "nowhere",
        "wrong",
    ]


def test_a_circle_of_owners_ends() -> None:
    """As an engine would never allow."""
    sighting = see(
        inspected("a", mode="container:b-id", country="se"),
        inspected("b", mode="container:a-id", country="se"),
    )
    assert len(sighting.faults) == 2


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    """A container, or a ParseError."""
    with suppress(ParseError):
        containers.read(content)


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine with containers that a test changes."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.status = 200
        self.looks = 0
        self.streams: list[BaseHTTPRequestHandler] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def address_string(self) -> str:
                return "unix"

            def do_GET(self) -> None:
                where = self.path.partition("?")[0]
                if engine.status != 200:
                    self.send_error(engine.status)
                elif where == "/events":
                    self.send_response(200)
                    self.end_headers()
                    engine.streams.append(self)
                    engine.over.wait(20)
                elif where == "/containers/json":
                    engine.looks += 1
                    found = [it for it in engine.containers.values() if it["Config"]["Labels"]]
                    self.answer([{"Id": it["Id"], "Names": [it["Name"]]} for it in found])
                else:
                    name = where.split("/")[2]
                    found = [it for it in engine.containers.values() if name in (it["Id"], it["Name"][1:])]
                    self.answer(found[0]) if found else self.send_error(404)

            def answer(self, document: object) -> None:
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.over = threading.Event()
        super().__init__(str(path), Handler)

    def has(self, *documents: dict[str, Any]) -> None:
        """Have these containers, and tell of it as an engine does: in several events."""
        self.containers = {document["Id"]: document for document in documents}
        for stream in self.streams:
            with suppress(OSError):
                stream.wfile.write(
                    b'{"Type":"container","Action":"start"}\n{"Type":"network","Action":"connect"}\n'
                )


@contextmanager
def engine(path: Path) -> Iterator[Engine]:
    path.unlink(missing_ok=True)
    running = Engine(path)
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.over.set()
        running.shutdown()
        running.server_close()


async def test_containers_come_change_and_go(tmp_path: Path) -> None:
    """Each event leads to one look, several at once to one together; the end of the engine ends the watch."""
    path = tmp_path / "engine.sock"
    source = DockerSource(str(path), "proxywatch.country", "", "127.0.0.1", SystemClock())
    with engine(path) as running:
        running.has(inspected("vpn"), inspected("se-1", mode="container:vpn-id", country="se"))
        watch = source.watch()
        assert hosts(await anext(watch)) == {"se-1": "172.17.0.2:1080"}
        running.has(inspected("vpn"), inspected("de-1", country="de"))
        assert hosts(await anext(watch)) == {"de-1": "172.17.0.2:1080"}
        assert running.looks == 2
        running.has(inspected("se-1", mode="container:vpn-id", country="se"))
        assert "network owner gone" in (await anext(watch)).leaving["se-1"].reason
        end = asyncio.ensure_future(anext(watch))  # noqa: TID251 - awaited below
        await asyncio.sleep(0)
        running.over.set()
        with suppress(SourceError, StopAsyncIteration):
            await end
    with pytest.raises(SourceError, match="engine"):
        await anext(source.watch())
    with engine(path) as running:
        running.has(inspected("se-2", country="se"))
        assert hosts(await anext(source.watch())) == {"se-2": "172.17.0.2:1080"}
        running.status = 500
        with pytest.raises(SourceError, match="500"):
            await anext(source.watch())
