"""The routes, over real connections: freshness, patience, errors, documents, reload."""

import asyncio
import json
import socket
import time
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import bcrypt
import pytest

from proxywatch.errors import ConfigError, Fault
from proxywatch.exporter import runner as scrape
from proxywatch.exporter import server
from proxywatch.exporter.runner import Scrape
from proxywatch.exporter.server import Exposition, Sources
from proxywatch.health import settings as health
from proxywatch.health.server import HealthServer
from proxywatch.metrics import family
from proxywatch.metrics.registry import Registry
from proxywatch.metrics.rendering import Format, Rendering
from proxywatch.net.addresses import Addresses
from proxywatch.web.message import HttpRequest
from support.fakes import FakeClock, settle
from support.publishers import Puppet
from support.wire import Wire

BYTES = family.counter("proxy_bytes_transferred_total", "Bytes.")
FILTER = "/metrics?collect[]="


class Rig:
    """An exposition over one puppet, with a clock that stands still."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = Registry({"proxy_name": "golden-crab"})
        self.puppet = Puppet("interface", {BYTES: 1})
        self.registry.register(self.puppet)
        self.scrape = Scrape(self.registry, scrape.Settings(), self.clock)
        self.registry.register(self.scrape)
        self.faults: Sequence[Fault] | ConfigError | None = None
        self.told = 0

    def sources(self) -> Sources:
        pages = {"/docs/x": lambda: "# x\n"}
        return Sources(self.registry, self.scrape, self.status, list, lambda: {"a": 1}, pages, self.reload)

    def status(self) -> dict[str, int]:
        self.told += 1
        return {"told": self.told}

    async def reload(self) -> Sequence[Fault] | None:
        if isinstance(self.faults, ConfigError):
            raise self.faults
        return self.faults


@asynccontextmanager
async def rigged(*, runner: bool = True, **settings: object) -> AsyncIterator[tuple[Rig, Wire]]:
    """The rig with one client; without the runner, a refresh never ends by itself."""
    rig = Rig()
    sources = rig.sources()
    chosen = server.Settings(listen=Addresses.parse("127.0.0.1:0"), **settings)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group, Exposition(chosen, sources, rig.clock) as exposition:
        task = group.create_task(rig.scrape.serve()) if runner else None
        wire = await Wire.to(exposition.addresses[0])
        yield rig, wire
        await wire.close()
        if task is not None:
            task.cancel()


async def test_metrics() -> None:
    """Text by default, with the type that Prometheus knows, and the proxy's name on every series."""
    async with rigged() as (_, wire):
        status, headers, body = await wire.ask("/metrics")
        assert status == 200
        assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert headers["vary"] == "accept, accept-encoding"
        assert b'proxy_bytes_transferred_total{proxy_name="golden-crab"} 1.0\n' in body


async def test_a_taken_port_is_told_as_it_is() -> None:
    """Neither server wraps the error in a group, and nothing of it is left running."""
    rig = Rig()
    sources = rig.sources()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Addresses.parse(f"127.0.0.1:{taken.getsockname()[1]}")
        for one in (
            Exposition(server.Settings(listen=listen), sources, rig.clock),
            HealthServer(health.Settings(listen=listen), {}, rig.clock),
        ):
            with pytest.raises(ConfigError, match="already in use"):
                async with one:
                    pytest.fail("it listens")
    assert len(asyncio.all_tasks()) == 1


async def test_openmetrics_and_gzip() -> None:
    """As asked for; HEAD tells the same length without the body."""
    ask = ("Accept: application/openmetrics-text; version=1.0.0", "Accept-Encoding: gzip")
    async with rigged() as (_, wire):
        _, headers, body = await wire.ask("/metrics", *ask)
        assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert headers["content-encoding"] == "gzip"
        assert zlib.decompress(body, wbits=31).endswith(b"# EOF\n")
        _, head, _ = await wire.ask("/metrics", *ask, method="HEAD")
        assert head["content-length"] == headers["content-length"]


async def test_renders_on_change_and_not_more_often_than_max_age() -> None:
    """A change shows a second later at the latest; without one the bytes are the same object."""
    async with rigged() as (rig, wire):
        _, _, first = await wire.ask("/metrics")
        rig.puppet.families[BYTES] = 2
        assert (await wire.ask("/metrics"))[2] == first
        assert rig.puppet.updates == 1
        await rig.clock.advance(1.1)
        assert b"} 2.0\n" in (await wire.ask("/metrics"))[2]
        assert rig.puppet.updates == 2


async def test_a_hundred_scrapes_refresh_once() -> None:
    """Whoever asks while a refresh is under way shares it."""
    async with rigged() as (rig, wire):
        host, port = wire.writer.get_extra_info("peername")[:2]
        wires = [await Wire.to(f"{host}:{port}") for _ in range(100)]
        answers = await asyncio.gather(*(each.ask("/metrics") for each in wires))
        assert {status for status, _, _ in answers} == {200}
        assert rig.puppet.updates == 1
        for each in wires:
            await each.close()


@pytest.mark.parametrize(("header", "longest"), [("0.1", 0.3), ("0", 0.2), ("-3", 0.2), ("0.6", 0.5)])
async def test_waits_no_longer_than_the_scraper(header: str, longest: float) -> None:
    """A refresh that hangs costs the scraper's own timeout less a margin; then there is what there is."""
    async with rigged(runner=False) as (_, wire):
        start = time.monotonic()
        status, _, body = await wire.ask("/metrics", f"X-Prometheus-Scrape-Timeout-Seconds: {header}")
        assert status == 200
        assert b"proxy_bytes_transferred_total" in body
        assert time.monotonic() - start < longest + 1


@pytest.mark.parametrize(
    ("header", "patience"),
    [(b"10", 9.5), (b"1", 0.5), (b"0.6", 0.3), (b"0", 0), (b"-3", 0), (b"nan", None), (b"", None)],
)
def test_leaves_the_scraper_a_margin(header: bytes, patience: float | None) -> None:
    """Half a second for the way, or half of the time where that is less."""
    request = HttpRequest("GET", b"/", {b"x-prometheus-scrape-timeout-seconds": header})
    assert server._patience(request) == pytest.approx(patience)


@pytest.mark.parametrize("header", ["nan", "inf", "soon", ""])
async def test_a_strange_timeout_is_ignored(header: str) -> None:
    """It is not a reason to fail, nor to wait for ever."""
    async with rigged() as (_, wire):
        assert (await wire.ask("/metrics", f"X-Prometheus-Scrape-Timeout-Seconds: {header}"))[0] == 200


async def test_filter() -> None:
    """Some collectors alone; an unknown one is refused with the known ones' names."""
    async with rigged() as (_, wire):
        _, _, body = await wire.ask(FILTER + "interface")
        assert b"proxywatch_collector" not in body
        _, _, body = await wire.ask("/metrics?collect%5B%5D=interface&collect[]=scrape")
        assert b"proxywatch_collector" in body
        status, _, body = await wire.ask(FILTER + "nothing")
        assert (status, body) == (400, b"no collector nothing; there are interface, scrape\n")
        status, _, body = await wire.ask(FILTER)
        assert (status, body[:26]) == (400, b"no collector without a nam")
        assert (await wire.ask("/metrics?" + "a=b&" * 200))[0] == 400


async def test_refuses_politely() -> None:
    """Unknown paths, wrong methods: what is allowed stands in the answer."""
    async with rigged() as (_, wire):
        assert (await wire.ask("/nothing"))[0] == 404
        assert (await wire.ask("//metrics"))[0] == 404
        status, headers, _ = await wire.ask("/metrics", method="DELETE")
        assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        status, headers, _ = await wire.ask("/-/reload")
        assert (status, headers["allow"]) == (405, "POST, PUT, OPTIONS")
        assert (await wire.ask("/page.css", method="POST"))[0] == 405
        assert (await wire.ask("/-/healthy"))[0] == 200


async def test_options_as_a_load_balancer_sends_it() -> None:
    """HAProxy's plain `option httpchk` is `OPTIONS / HTTP/1.0`: 200 with the methods, for `*` too."""
    async with rigged() as (_, wire):
        for target, allowed in (
            ("/", "GET, HEAD, OPTIONS"),
            ("/metrics", "GET, HEAD, OPTIONS"),
            ("*", "GET, HEAD, OPTIONS"),
            ("/-/reload", "POST, PUT, OPTIONS"),
        ):
            status, headers, body = await wire.ask(target, method="OPTIONS")
            assert (status, headers["allow"], body) == (200, allowed, b"")
        assert (await wire.ask("/nothing", method="OPTIONS"))[0] == 404
        await wire.send(b"OPTIONS / HTTP/1.0\r\n\r\n")
        assert (await wire.rest()).startswith(b"HTTP/1.1 200 ")


async def test_reloads_are_limited() -> None:
    """Ten at once, then one a second."""
    async with rigged() as (rig, wire):
        answers = [(await wire.ask("/-/reload", method="POST"))[0] for _ in range(12)]
        assert answers == [200] * 10 + [429] * 2
        await rig.clock.advance(1)
        assert [(await wire.ask("/-/reload", method="POST"))[0] for _ in range(2)] == [200, 429]


async def test_documents() -> None:
    """JSON, made at most once per max_age, gzip when asked for, never kept by a cache."""
    async with rigged() as (rig, wire):
        for _ in range(3):
            _, headers, body = await wire.ask("/api/v1/status")
            assert json.loads(body) == {"told": 1}
            assert (headers["content-type"], headers["cache-control"]) == ("application/json", "no-store")
        await rig.clock.advance(1.1)
        _, headers, body = await wire.ask("/api/v1/status", "Accept-Encoding: gzip")
        assert json.loads(zlib.decompress(body, wbits=31)) == {"told": 2}
        assert json.loads((await wire.ask("/api/v1/status"))[2]) == {"told": 3}, "never packed unasked"
        _, headers, body = await wire.ask("/api/v1/status", "Accept-Encoding: gzip")
        assert headers["content-encoding"] == "gzip"
        assert json.loads(zlib.decompress(body, wbits=31)) == {"told": 2}, "kept apart"
        await rig.clock.advance(1.1)
        await wire.ask("/api/v1/status")
        await rig.clock.advance(1.1)
        await wire.ask("/metrics", "Accept-Encoding: gzip")
        assert json.loads((await wire.ask("/api/v1/status"))[2]) == {"told": 5}, "older than the metrics"
        assert json.loads((await wire.ask("/api/v1/history"))[2]) == []
        assert "$ref" in json.loads((await wire.ask("/api/v1/status/schema"))[2])


async def test_reload() -> None:
    """200, or 400 with every fault; for no page in a browser."""
    async with rigged() as (rig, wire):
        assert (await wire.ask("/-/reload", method="POST"))[0] == 200
        fault = Fault("x.yaml:3 latency", "expected")
        for faults in ([fault], ConfigError(fault)):
            rig.faults = faults
            status, _, body = await wire.ask("/-/reload", method="POST")
            assert (status, body) == (400, b"x.yaml:3 latency: expected\n")
        rig.faults = None
        for header in (
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-origin",  # of a name that was rebound to our address
            "Origin: null",
            "Origin: http://test",
        ):
            assert (await wire.ask("/-/reload", header, method="POST"))[0] == 403, header
        assert (await wire.ask("/-/reload", method="PUT"))[0] == 200


async def test_the_page_is_kept_to_itself() -> None:
    """A policy without inline script, inline style and foreign hosts; and nothing in it needs them."""
    async with rigged() as (_, wire):
        for path in ("/", "/page.js", "/page.css", "/icon.svg"):
            status, headers, body = await wire.ask(path)
            assert status == 200
            policy = headers["content-security-policy"]
            for directive in ("default-src", "base-uri", "form-action", "frame-ancestors"):
                assert f"{directive} 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            text = body.decode().replace("http://www.w3.org/2000/svg", "")
            assert "http:" not in text.replace("https?:", "")
            assert "<script>" not in text
            assert "style=" not in text
        _, headers, packed = await wire.ask("/page.js", "Accept-Encoding: gzip")
        assert zlib.decompress(packed, wbits=31).startswith(b'"use strict"')


async def test_the_web_configuration_is_in_force(tmp_path: Path) -> None:
    """Users and headers of the file hold for every route; a faulty file is refused at the start."""
    path = tmp_path / "web.yml"
    hashed = bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode()
    path.write_text(
        f"basic_auth_users: {{alice: {hashed}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}"
    )
    async with rigged(web_config=str(path)) as (rig, wire):
        for target in ("/metrics", "/", "/api/v1/status", "/nothing"):
            status, headers, _ = await wire.ask(target)
            assert status == 401
        await rig.clock.advance(0.6)
        ask = "Authorization: Basic " + b64encode(b"alice:wonderland").decode()
        status, headers, body = await wire.ask("/metrics", ask)
        assert (status, headers["x-frame-options"]) == (200, "deny")
        assert b"proxy_bytes_transferred_total" in body
    path.write_text("basic_auth_users: 7")
    sources = rig.sources()
    with pytest.raises(ConfigError, match="basic_auth_users"):
        Exposition(server.Settings(web_config=str(path)), sources, rig.clock)


async def test_a_family_that_cannot_be_rendered_spoils_nothing() -> None:
    """It is missing; the others are there."""
    async with rigged() as (rig, wire):
        rig.registry.register(Puppet("broken", {family.gauge("proxy_broken", "Breaks."): "no number"}))
        await settle()
        status, _, body = await wire.ask("/metrics")
        assert status == 200
        assert b"proxy_bytes_transferred_total" in body


async def test_who_asks_at_once_shares_one_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen scrapers cost what one costs."""
    rendered = []
    original = Rendering.render

    async def counted(self: Rendering, shape: Format, names: frozenset[str] | None) -> bytes:
        rendered.append(shape)
        return await original(self, shape, names)

    monkeypatch.setattr(Rendering, "render", counted)
    async with rigged() as (rig, wire):
        host, port = wire.writer.get_extra_info("peername")
        others = [await Wire.to(f"{host}:{port}") for _ in range(15)]
        await asyncio.gather(*(each.ask("/metrics") for each in (wire, *others)))
        for each in others:
            await each.close()
        assert rig.puppet.updates == 1
    assert rendered == ["text"]
