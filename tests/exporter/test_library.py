"""The exporter as a library, by the very code that docs/library.md shows."""

import asyncio
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse
from prometheus_client.registry import DuplicateTimeseries

from proxywatch.config import load
from proxywatch.errors import ConfigError
from proxywatch.exporter import doctor, library
from proxywatch.exporter.library import Exporter
from proxywatch.exporter.settings import SCHEMA
from support.publishers import Plain
from testbed.exporter import exporter

PAGE = (Path(__file__).parents[2] / "docs/library.md").read_text()
COLLECTOR, EMBEDDED, SERVED = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(PYPROJECT,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
OFF = {
    name: {"enabled": False}
    for name in ("latency", "speed", "exit", "wireguard", "sessions", "children", "sockets")
}
QUIET = "\n".join(f"{name}: {{enabled: false}}" for name in OFF)


@contextmanager
def package(folder: Path, collector: str = COLLECTOR) -> Iterator[Path]:
    """A folder with the page's collector, as if it had been installed there."""
    entries = (
        PYPROJECT.partition('entry-points."proxywatch.collectors"]\n')[2]
        .partition("\n\n")[0]
        .replace('"', "")
    )
    about = folder / "tcp_collector-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tcp-collector\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[proxywatch.collectors]\n{entries}\n")
    (folder / "tcp_collector.py").write_text(collector)
    sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("tcp_collector", None)


def values(text: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in parse(text)
        for sample in family.samples
        if sample.labels.keys() <= {"proxy_name"}
    }


def test_the_collector_is_of_thirty_lines() -> None:
    """As the page is to show how little it takes."""
    assert len([line for line in COLLECTOR.splitlines() if line.strip()]) <= 30


def test_an_installed_collector_is_scraped(tmp_path: Path) -> None:
    """By a real exporter, with its label and beside its outcome; alone when it alone is asked for."""
    with (
        package(tmp_path / "site") as site,
        exporter(tmp_path, OFF, environ={"PYTHONPATH": str(site)}) as running,
    ):
        body = running.get("/metrics").body
        alone = running.get("/metrics?collect[]=kernel_tcp").body
    assert "tcp_connections{proxy_name=" in body
    assert "tcp_retransmitted_segments_total{proxy_name=" in body
    assert re.search(r'proxywatch_collector_success{collector="kernel_tcp",proxy_name="[^"]*"} 1.0', body)
    assert set(values(alone)) == {"tcp_connections", "tcp_retransmitted_segments_total"}


def test_a_collector_that_cannot_be_loaded_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged by its name."""
    with package(tmp_path, "raise ZeroDivisionError"):
        assert library.installed() == {}
    assert [record.__dict__["collector"] for record in caplog.records] == ["kernel_tcp"]


async def test_check_looks_at_it_too(tmp_path: Path) -> None:
    """`proxywatch check` says whether it works."""
    with package(tmp_path):
        found = await doctor.diagnose(load(QUIET, {}, SCHEMA))
    assert [finding.level for finding in found.findings["kernel_tcp"]] == ["ok"]


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_the_embedding_program_of_the_page() -> None:
    """Prints our series from its own registry."""
    told = run(EMBEDDED)
    assert 'proxy_network_receive_bytes_total{device="lo",proxy_name="golden-crab"}' in told
    assert "proxy_latency_ms" not in told


def test_the_serving_program_of_the_page() -> None:
    """The client library's own server has us read anew for each scrape."""
    command = [sys.executable, "-u", "-c", SERVED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            url = program.stdout.readline().strip()
            with urllib.request.urlopen(url, timeout=10) as response:
                body = response.read().decode()
        finally:
            program.kill()
    assert 'proxy_network_receive_bytes_total{device="lo"' in body


async def test_theirs_beside_ours() -> None:
    """Before the start and while it runs: a metric of the library's own, one without a description."""
    jobs = Gauge("queue_length", "Jobs that wait.", registry=None)
    jobs.set(3)
    ours = Exporter.load(QUIET)
    ours.register(jobs, "queue")
    async with ours:
        more = Counter("done", "Jobs that are done.", registry=None)
        ours.register(Plain(more.collect()), "done")
        found = {family.name for family in ours.collect()}
        with pytest.raises(ValueError, match="queue already"):
            ours.register(jobs, "queue")
        with pytest.raises(ValueError, match="latency already"):
            ours.register(jobs, "latency")
    assert {"queue_length", "done", "proxy_info"} <= found
    assert list(ours.collect()) == []


async def test_a_collector_that_clashes_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Ours stay."""
    ours = Exporter.load(QUIET)
    ours.register(Gauge("proxy_info", "Another.", registry=None), "clash")
    async with ours:
        assert [family.documentation for family in ours.collect() if family.name == "proxy_info"] == [
            "Always 1: the proxy that this exporter stands beside."
        ]
    assert "a collector cannot be registered" in caplog.text


async def test_a_registry_refuses_what_clashes_with_ours() -> None:
    """We say what we publish when we are registered."""
    registry = CollectorRegistry()
    async with Exporter.load(QUIET) as ours:
        registry.register(ours)
        with pytest.raises(DuplicateTimeseries):
            Gauge("proxy_info", "Another.", registry=registry)
        assert b"proxywatch_build_info" in generate_latest(registry)


async def test_another_thread_gets_fresh_readings() -> None:
    """Without a refresh of its own."""
    async with Exporter.load(QUIET) as ours:
        seen: list[set[str]] = []
        thread = threading.Thread(target=lambda: seen.append({family.name for family in ours.collect()}))
        thread.start()
        await asyncio.to_thread(thread.join, 10)
    assert "process_cpu_seconds" in seen[0]


def test_settings_with_faults_are_refused() -> None:
    """All of them at once."""
    with pytest.raises(ConfigError) as refused:
        Exporter.load("latancy: {}\ninterface: {nmae: wg0}")
    assert len(refused.value.faults) == 2
