"""The examples of docs/instrument.md print what the page says, and are typed strictly."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from proxywatch.instrument import (
    ConnectionClosed,
    ConnectionOpened,
    MetricsAwareDns,
    MetricsAwareProxy,
    QueryAnswered,
    QueryReceived,
)
from proxywatch.instrument.prometheus import DnsCollector, ProxyCollector

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/instrument.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```(?:[^`]*?^```text\n(.*?)^```)?", PAGE, re.MULTILINE | re.DOTALL)


def test_page_has_examples() -> None:
    """As many as there are blocks of Python, each with its output."""
    assert len(EXAMPLES) == PAGE.count("```python\n") == PAGE.count("```text\n") > 5


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example(number: int) -> None:
    """It prints what the page says."""
    source, expected = EXAMPLES[number]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, f"example {number}", "exec"), {"__name__": "__main__"})
    lines = printed.getvalue().splitlines(), expected.splitlines()
    assert len(lines[0]) == len(lines[1]), lines
    for line, pattern in zip(*lines, strict=True):
        words = map(re.escape, pattern.split("..."))
        assert re.fullmatch(".*".join(words), line), (line, pattern)


def mypy(folder: Path) -> str:
    """What mypy says of the files of a folder, as a user of the library would run it."""
    environment = os.environ | {"MYPYPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--python-version", "3.11"]
    done = subprocess.run(
        [*command, "."], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.slow
def test_examples_are_typed(tmp_path: Path) -> None:
    """Strictly; and a wrong use of each kind is found."""
    for number, (source, _) in enumerate(EXAMPLES):
        if "dnslib" not in source:  # it has no types
            (tmp_path / f"example_{number}.py").write_text(source)
    assert "Success" in mypy(tmp_path)
    (tmp_path / "wrong.py").write_text(WRONG)
    found = {int(line) for line in re.findall(r"wrong\.py:(\d+): error", mypy(tmp_path))}
    assert found == {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}


WRONG = """\
from proxywatch.instrument import Answer, ConnectionOpened, MetricsAwareDns, MetricsAwareProxy
def hear(event: ConnectionOpened) -> None: ...
def handle(query: bytes) -> Answer[bytes]: return Answer(query)
async def later(query: bytes) -> bytes: return query
proxy, dns = MetricsAwareProxy(), MetricsAwareDns()
proxy.on("connection-open", hear)
proxy.on("connection-close", hear)  # wrong
proxy.on("connection", hear)  # wrong
proxy.get_throughput(5)  # wrong
proxy.wrap_handler(handle)  # wrong
right: bytes = dns.wrap(handle)(b"")
wrong: str = dns.wrap(handle)(b"")  # wrong
dns.wrap(handle)("text")  # wrong
async def ask() -> bytes: return await dns.wrap(later)(b"")
async def fail() -> str: return await dns.wrap(later)(b"")  # wrong
"""


def test_everything_public_is_on_the_page() -> None:
    """Statistics, fields of events and metrics are named there."""
    for kind in (MetricsAwareProxy, MetricsAwareDns):
        for name in dir(kind):
            if name.startswith("get_"):
                assert name in PAGE or f"...{name.removeprefix('get_connections')}" in PAGE
    for event in (ConnectionOpened, ConnectionClosed, QueryReceived, QueryAnswered):
        for field in event.__dataclass_fields__:
            assert field in PAGE
    for collector in (ProxyCollector(MetricsAwareProxy()), DnsCollector(MetricsAwareDns())):
        for family in collector.describe():
            assert family.name in PAGE
