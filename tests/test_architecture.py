"""The house keeps its own rules: the import contracts hold, and each breach of them is caught."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(root: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    command = [str(LINTER), "--no-cache", "--config", str(root / ".importlinter")]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_the_contracts_hold() -> None:
    """As `make lint` says too."""
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("utils.py", "", "proxywatch.utils"),
        ("source/file.py", "import proxywatch.metrics.registry", "Rooms are layered"),
        ("health/server.py", "import proxywatch.exporter.runner", "Rooms are layered"),
        ("runtime/supervisor.py", "import proxywatch.exporter.daemon", "Rooms are layered"),
        ("config.py", "import proxywatch.health.settings", "Rooms are layered"),
        ("exporter/runner.py", "import proxywatch.exporter.daemon", "The exporter's rooms are layered"),
        ("exporter/utils.py", "", "proxywatch.exporter.utils"),
        ("parse/netdev.py", "import time", "Parsers, and what records mean, do no I/O"),
        ("probe/schedule.py", "import asyncio", "Parsers, and what records mean, do no I/O"),
        ("dante/sessions.py", "import proxywatch.clock", "Parsers, and what records mean, do no I/O"),
        ("parse/netdev.py", "import proxywatch.source.file", "Parsers, and what records mean, do no I/O"),
        (
            "exporter/collector/interface.py",
            "import proxywatch.exporter.collector.process",
            "Collectors are strangers",
        ),
        ("source/file.py", "import proxywatch.parse.netdev", "Sources know no format"),
        ("exporter/daemon.py", "import proxywatch.balancer.daemon", "Rooms are layered"),
        ("balancer/choosing/score.py", "import time", "Choosing does no I/O"),
        ("balancer/choosing/pool.py", "import proxywatch.clock", "Choosing does no I/O"),
        (
            "balancer/choosing/rule.py",
            "import proxywatch.balancer.daemon",
            "The balancer's rooms are layered",
        ),
        ("instrument/proxy.py", "import prometheus_client", "Instrument stands alone"),
        ("dns/cache.py", "import proxywatch.dns.resolver", "The forwarder's rooms are layered"),
        ("source/file.py", "import prometheus_client", "Prometheus's client library"),
    ],
)
def test_a_breach_is_caught(tmp_path: Path, file: str, line: str, contract: str) -> None:
    """Each rule, broken on purpose in a copy of the house."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    with (tmp_path / "src/proxywatch" / file).open("a") as module:
        module.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode != 0
    broken = [
        row
        for row in result.stdout.splitlines()
        if "BROKEN" in row or row.strip().startswith("- proxywatch.") or "utils" in row
    ]
    assert any(contract in row for row in broken), result.stdout


def test_no_file_is_called_utils_and_none_is_too_long() -> None:
    """Names say what is inside, and a file fits into a head."""
    files = list((ROOT / "src").rglob("*.py"))
    lengths = {path: len(path.read_text().splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 400 or name.name == "utils.py"} == {}


def test_the_exporter_imports_nothing_of_the_balancer() -> None:
    """A sidecar carries neither the balancer's dependencies nor its code."""
    code = "import sys; import proxywatch.exporter.daemon, proxywatch.cli; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name for name in done.stdout.splitlines() if not name.startswith("_")}
    strangers = (
        "proxywatch.balancer",
        "proxywatch.dns",
        "proxywatch.instrument",
        "litestar",
        "uvicorn",
        "h2",
    )
    assert [
        name for name in modules if name.partition(".")[0] in strangers or name.startswith(strangers)
    ] == []
