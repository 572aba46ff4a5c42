"""The locks: what is installed is what was meant, and every file of it is known by its hash."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==\S+(?: ; [^\\]+)? ?\\?$", re.MULTILINE)


def _named(lock: str) -> set[str]:
    return {name.lower() for name in _REQUIREMENT.findall((ROOT / lock).read_text())}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-balancer.lock", "requirements-dev.lock"])
def test_every_requirement_has_a_hash(lock: str) -> None:
    """And comes from wherever the reader's index is: no address is in it."""
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) == len(_REQUIREMENT.findall(text))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_runtime_lock_holds_what_the_package_asks_for() -> None:
    """Nothing that is gone from the package, and none of the developers' tools."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.split(r"[<>=!~ \[]", entry)[0].lower() for entry in project["dependencies"]}
    locked = _named("requirements.lock")
    assert asked <= locked
    assert locked <= asked | {"colorama"}  # of click, on Windows
    assert locked <= _named("requirements-dev.lock")


def test_the_balancers_lock_adds_to_the_sidecars() -> None:
    """What the extras ask for, over all that a sidecar has in the same versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [entry for extra in project["optional-dependencies"].values() for entry in extra]
    asked = {re.split(r"[<>=!~ \[]", entry)[0].lower() for entry in extras}
    assert _named("requirements.lock") | asked <= _named("requirements-balancer.lock")
    assert not asked & _named("requirements.lock")
