"""The registry as bytes: golden files, negotiation, filters."""

import asyncio
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from proxywatch.distribution import Distribution, Exemplar
from proxywatch.metrics import exposition, rendering
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Metric
from proxywatch.metrics.registry import Registry
from proxywatch.metrics.rendering import Format, Rendering, accepts_gzip, compress, negotiate
from support.publishers import Plain, Puppet

GOLDEN = Path(__file__).parent.parent / "golden"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;"
    "version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def registry() -> Registry:
    """One of each kind, with everything that needs care."""
    durations = Distribution([0.1, 0.5])
    durations.observe(0.05, Exemplar({"probe_id": "1f"}, 0.05, 1_795_262_692.25))
    durations.observe(7)
    told = Registry({"proxy_name": 'a "proxy"\\\n'})
    told.register(
        Puppet(
            "latency",
            {
                metric.gauge("proxy_latency_ms", "Help with \\ and\nnewline."): 141.5,
                metric.histogram("proxy_probe_duration_seconds", "Time of probes."): durations,
                metric.gauge("proxy_absent_seconds", "Was not measured."): None,
            },
        )
    )
    attempts = metric.counter("proxy_probe_attempts_total", "Probes made.", ["target"])
    told.register(Puppet("speed", {attempts: {"http://a/": 3, "http://b/": 0}}))
    return told


def body(shape: Format, names: frozenset[str] | None = None) -> bytes:
    return asyncio.run(Rendering(registry()).render(shape, names))


@pytest.mark.parametrize("shape", ["text", "openmetrics"])
def test_golden(shape: Format) -> None:
    """Byte for byte; TEST_GOLDEN=write renews the files."""
    golden = GOLDEN / f"exposition.{shape}"
    if os.environ.get("TEST_GOLDEN") == "write":
        golden.write_bytes(body(shape))
    assert body(shape) == golden.read_bytes()


def test_both_formats_say_the_same() -> None:
    """Sample by sample, as the client library's own parsers read them."""

    def plain(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...], float]:
        return sample.name, tuple(sorted(sample.labels.items())), sample.value

    text = {plain(s) for family in parse_text(body("text").decode()) for s in family.samples}
    families = parse_openmetrics(body("openmetrics").decode())  # type: ignore[no-untyped-call]
    other = {plain(s) for family in families for s in family.samples}
    assert text == other
    assert len(text) == 8


def test_promtool_reads_it() -> None:
    """What Prometheus's own tool minds is only the units that part A of the contract fixes."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body("text"), capture_output=True, check=False
    )
    complaints = [line for line in done.stderr.decode().splitlines() if line.strip()]
    assert all("proxy_latency_ms" in line for line in complaints), complaints


def test_gzip_is_the_same() -> None:
    """Once unpacked."""
    assert zlib.decompress(compress(body("text")), wbits=31) == body("text")


def test_filter() -> None:
    """One publisher's families alone, ended as OpenMetrics wants it."""
    filtered = body("openmetrics", frozenset(["speed"]))
    assert filtered.count(b"# TYPE") == 1
    assert filtered.endswith(b"# EOF\n")
    assert filtered.count(b"# EOF") == 1


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the families that the client library was made to write."""
    names = []

    def text(family: Metric) -> bytes:
        names.append(family.name)
        return exposition.text(family)

    monkeypatch.setitem(rendering._WRITERS, "text", text)
    return names


async def test_only_what_changed_is_rendered_again(rendered: list[str]) -> None:
    """A family is compared with what it was, its labels included; the other families' bytes are kept."""
    speed = metric.gauge("speed", "Speed.", ["target"])
    puppet = Puppet("one", {speed: {"a": 1.0}, metric.gauge("latency", "Latency."): 2.0})
    all_series = Registry({"proxy_name": "golden-crab"})
    all_series.register(puppet)
    made = Rendering(all_series)
    first = await made.render("text", None)
    assert rendered == ["speed", "latency"]
    assert await made.render("text", None) == first
    assert rendered == ["speed", "latency"]
    puppet.families[speed] = {"b": 1.0}
    assert b'speed{proxy_name="golden-crab",target="b"} 1.0' in await made.render("text", None)
    assert rendered == ["speed", "latency", "speed"]
    all_series.labels = {"proxy_name": "blue-whale"}
    assert b"golden-crab" not in await made.render("text", None)
    assert len(rendered) == 5


async def test_what_is_gone_is_gone() -> None:
    """A sample, a family, a collector."""
    speed = metric.gauge("speed", "Speed.", ["target"])
    puppet = Puppet("one", {speed: {"a": 1.0, "b": 1.0}, metric.gauge("latency", "Latency."): 2.0})
    all_series = Registry({})
    all_series.register(puppet)
    made = Rendering(all_series)
    assert b'target="b"' in await made.render("text", None)
    puppet.families = {speed: {"a": 1.0}}
    body = await made.render("text", None)
    assert b'target="b"' not in body
    assert b"latency" not in body
    all_series.unregister(puppet)
    assert await made.render("text", None) == b""


async def test_a_family_that_is_collected_twice_is_written_once() -> None:
    """Prometheus would refuse the whole scrape."""
    all_series = Registry({})
    twice = metric.gauge("a", "A.").value(1)
    all_series.register(Plain([twice, twice]))
    assert (await Rendering(all_series).render("text", None)).count(b"# TYPE a gauge") == 1


@pytest.mark.parametrize(
    ("accept", "shape"),
    [
        ("", "text"),
        ("*/*", "text"),
        ("text/html,*/*;q=0.8", "text"),
        (PROMETHEUS, "openmetrics"),
        ("application/openmetrics-text", "openmetrics"),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.5", "text"),
        ("text/plain, application/openmetrics-text", "openmetrics"),
        ("application/openmetrics-text;q=0", "text"),
        ("application/openmetrics-text;q=none", "text"),
        ("Application/OpenMetrics-Text; version=1.0.0", "openmetrics"),
    ],
)
def test_negotiates(accept: str, shape: Format) -> None:
    """By weight; text when nothing was said of either."""
    assert negotiate(accept) == shape


@pytest.mark.parametrize(
    ("header", "gzip"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("*;q=0", False),
        ("br", False),
        ("gzip;q=0.001", True),
        ("gzip;q=0.5, identity", False),
        ("identity;q=0.5, gzip", True),
    ],
)
def test_gzip_is_asked_for(header: str, *, gzip: bool) -> None:
    """By name or by a star, with a weight above nothing."""
    assert accepts_gzip(header) == gzip


@given(st.text(max_size=80))
def test_any_header_is_borne(header: str) -> None:
    """No header makes negotiation fail."""
    assert negotiate(header) in ("text", "openmetrics")
    assert accepts_gzip(header) in (True, False)
