"""The rooms that choose import nothing that could do I/O, tell the time or roll dice."""

import ast
from importlib.metadata import distributions
from pathlib import Path

import pytest

import proxywatch.balancer.choosing
from proxywatch.balancer.choosing.strategy.interface import FEW
from proxywatch.balancer.choosing.strategy.table import GROUP, strategies

ROOM = Path(proxywatch.balancer.choosing.__file__).parent
PURE = sorted([*ROOM.glob("*.py"), *(ROOM / "strategy").glob("*.py"), *(ROOM / "simulation").glob("*.py")])
IMPURE = {
    "asyncio",
    "os",
    "time",
    "random",
    "socket",
    "logging",
    "pathlib",
    "secrets",
    "subprocess",
    "threading",
}
OURS = (
    "proxywatch.balancer.choosing",
    "proxywatch.balancer.attempt",
    "proxywatch.balancer.node",
    "proxywatch.balancer.request",
    "proxywatch.errors",
    "proxywatch.quantity",
)


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOM)))
def test_imports(path: Path) -> None:
    """None of them, and of ours only the errors and the quantities of settings."""
    for statement in ast.walk(ast.parse(path.read_text())):
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            names = [statement.module or ""]
        else:
            continue
        for name in names:
            assert name.partition(".")[0] not in IMPURE
            assert not name.startswith("proxywatch") or name.startswith(OURS)


def test_a_distribution_with_a_strategy(tmp_path: Path) -> None:
    """A third party's package that is installed beside ours gives a strategy by its entry point."""
    (tmp_path / "nearest.py").write_text(
        f"""
class Nearest:
    name = "nearest"
    description = "Routes to the node with the lowest latency"
    sample = {FEW}
    ranks = True
    draws = False

    def assign(self, candidates, turn, /):
        return min(candidates, key=lambda candidate: candidate.latency_ms(turn.now))
"""
    )
    info = tmp_path / "nearest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nearest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nnearest = nearest:Nearest\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        points = [
            point
            for found in distributions(path=[str(tmp_path)])
            for point in found.entry_points
            if point.group == GROUP
        ]
        table = strategies((point.name, point.load()) for point in points)
    assert list(table)[-1] == "nearest"
    assert table["nearest"].description == "Routes to the node with the lowest latency"
