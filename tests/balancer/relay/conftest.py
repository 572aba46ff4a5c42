"""What the relay's tests share."""

from pathlib import Path

import bcrypt
import pytest


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    """Each of the two event loops."""
    return str(request.param)


@pytest.fixture
def users_file(tmp_path: Path) -> str:
    """A file with alice, whose password is `secret`."""
    path = tmp_path / "users"
    path.write_text(f"alice:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    return str(path)
