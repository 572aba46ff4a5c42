"""A fresh checkout: what `make runtime` puts on the disk, and whether it says what it does."""

import shutil
import subprocess
from pathlib import Path

import pytest

from proxywatch import __version__

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
_LARGEST = 120_000_000


def test_running_needs_no_developers_tools(tmp_path: Path) -> None:
    """The locked libraries and the program where it lies; a line for each package on the way."""
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("scripts", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = ("make", "-C", tmp_path, "runtime")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "making .venv" in done.stdout
    for package in ("uvloop", "pycurl", "msgspec"):
        assert package in done.stdout
    program = tmp_path / ".venv/bin/proxywatch"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, cwd="/")
    assert __version__ in said.stdout
    assert not list((tmp_path / ".venv/bin").glob("pytest*"))
    files = [path for path in (tmp_path / ".venv").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < _LARGEST
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "installing" not in again.stdout
