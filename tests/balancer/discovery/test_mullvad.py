"""Mullvad's relay list: hundreds of nodes through one proxy; from a file, and from a server that knows ETags."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.balancer.discovery import mullvad
from proxywatch.balancer.discovery.mullvad import Wanted
from proxywatch.balancer.discovery.relay_list import RelayListFile, RelayListUrl
from proxywatch.balancer.node import Upstream
from proxywatch.clock import SystemClock
from proxywatch.errors import ParseError, SourceError
from support.fakes import FakeClock

VIA = Upstream("socks5", "10.0.0.1", 1080)


def relay(number: int = 1, country: str = "se", city: str = "got", **more: Any) -> dict[str, Any]:
    """An entry as the list has it, at made-up addresses."""
    name = f"{country}-{city}-wg-{number:03}"
    return {
        "hostname": name, "fqdn": f"{name}.relays.example", "country_code": country, "country_name": "Sweden",
        "city_code": city, "city_name": "Gothenburg", "active": True, "owned": False, "provider": "31173",
        "ipv4_addr_in": "192.0.2.1", "ipv6_addr_in": "2001:db8::1", "network_port_speed": 10, "stboot": True,
        "type": "wireguard", "status_messages": [], "pubkey": "x", "multihop_port": 3001,
        "socks_name": f"{country}-{city}-wg-socks5-{number:03}.relays.example", "socks_port": 1080, "daita": False,
    } | more  # fmt: skip


def read(*relays: Any, via: Upstream | str = VIA, **wanted: Any) -> Any:
    return mullvad.read(json.dumps(relays).encode(), Wanted(**wanted), via)


def test_a_relay_is_a_node_behind_the_proxy_in_the_tunnel() -> None:
    """Its SOCKS server by name, which the proxy resolves."""
    sighting = read(relay(owned=True))
    node = sighting.nodes["se-got-wg-001"]
    assert node.upstream == Upstream("socks5", "se-got-wg-socks5-001.relays.example", 1080)
    assert (node.country, node.city, node.server, node.via) == ("se", "got", "se-got-wg-001", VIA)
    assert node.tags == {"mullvad", "owned"}
    assert read(relay(), via="se-1").nodes["se-got-wg-001"].via == "se-1"


def test_hundreds_of_them() -> None:
    """All of the list, in its order."""
    sighting = read(*(relay(number, country) for country in ("se", "de", "us") for number in range(1, 201)))
    assert len(sighting.nodes) == 600
    assert not sighting.faults


def test_only_those_that_are_wanted() -> None:
    """By country, city, owner and provider; one that is inactive, or no WireGuard relay, is none."""
    relays = [
        relay(1), relay(2, "de", "fra"), relay(3, "gb", "lon", owned=True, provider="M247"), relay(4, active=False),
        relay(5, type="bridge"), relay(6, type="openvpn"),
    ]  # fmt: skip
    assert list(read(*relays).nodes) == ["se-got-wg-001", "de-fra-wg-002", "gb-lon-wg-003"]
    assert list(read(*relays, countries=frozenset({"de", "gb"})).nodes) == ["de-fra-wg-002", "gb-lon-wg-003"]
    assert list(read(*relays, cities=frozenset({"got"})).nodes) == ["se-got-wg-001"]
    assert list(read(*relays, owned=True).nodes) == ["gb-lon-wg-003"]
    assert list(read(*relays, providers=frozenset({"m247"})).nodes) == ["gb-lon-wg-003"]


def test_a_relay_without_what_is_needed_is_dropped_and_counted() -> None:
    """Unknown keys are nothing; a key that is missing, or of another kind, drops that relay alone."""
    sighting = read(
        relay(1, something_new={"deep": [1]}), relay(2, socks_name=""), relay(3, country_code="Atlantis"),
        relay(4, active="yes"), relay(5, socks_port=0), relay(6, hostname="results"), 17, None,
    )  # fmt: skip
    assert list(sighting.nodes) == ["se-got-wg-001"]
    assert sighting.dropped == 7


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"null", b"[1, 2]", b"[" * 100_000, b'{"countries": []}', b"\xff"]
)
def test_what_is_no_list_of_relays_is_a_failure(content: bytes) -> None:
    """Not an empty list: that would send everybody away."""
    with pytest.raises(ParseError):
        mullvad.read(content, Wanted(), VIA)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    """A sighting, or a ParseError."""
    with suppress(ParseError):
        mullvad.read(content, Wanted(), VIA)


async def test_the_file_is_watched(tmp_path: Path) -> None:
    """A change is seen; half a file is a failure, and what was known stands."""
    path = tmp_path / "relays.json"
    path.write_text(json.dumps([relay(1)]))
    watch = RelayListFile(str(path), Wanted(), VIA, 0.0, FakeClock()).watch()
    assert list((await anext(watch)).nodes) == ["se-got-wg-001"]
    path.write_text(json.dumps([relay(2)]))
    assert list((await anext(watch)).nodes) == ["se-got-wg-002"]
    path.write_text(json.dumps([relay(2)])[:-20])
    with pytest.raises(ParseError):
        await anext(watch)


class ListServer:
    """Serves a list with an ETag."""

    def __init__(self) -> None:
        self.relays: list[Any] = [relay(1)]
        self.statuses: list[int] = []
        self.fail = 0
        self.etag = True
        serving = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps(serving.relays).encode()
                tag = f'"{hash(body)}"'
                same = serving.etag and self.headers.get("if-none-match") == tag
                status = serving.fail or (304 if same else 200)
                serving.statuses.append(status)
                self.send_response(status)
                if serving.etag:
                    self.send_header("ETag", tag)
                self.send_header("content-length", "0" if status != 200 else str(len(body)))
                self.end_headers()
                if status == 200:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/relays?x=1"


@contextmanager
def list_server() -> Iterator[ListServer]:
    serving = ListServer()
    thread = threading.Thread(target=serving.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        serving.server.shutdown()
        serving.server.server_close()


async def test_a_url_is_asked_whether_the_list_has_changed() -> None:
    """What has not costs no body; an error is a failure."""
    with list_server() as serving:
        watch = RelayListUrl(serving.url, Wanted(), VIA, 0.01, SystemClock()).watch()
        assert list((await anext(watch)).nodes) == ["se-got-wg-001"]
        task = anext(watch)
        serving.relays = [relay(1)]
        threading.Timer(0.1, lambda: setattr(serving, "relays", [relay(7)])).start()
        assert list((await task).nodes) == ["se-got-wg-007"]
        assert serving.statuses[0] == serving.statuses[-1] == 200
        assert set(serving.statuses[1:-1]) == {304}
        serving.fail = 503
        with pytest.raises(SourceError, match="503"):
            await anext(watch)
