"""Users and tokens of the API."""

from base64 import b64encode
from pathlib import Path

import bcrypt
import pytest

from proxywatch.balancer.api.guard import BusyError, Caller
from proxywatch.balancer.api.login import Logins
from proxywatch.errors import ConfigError

TOKEN = "t0ken-of-sixteen-or-more"


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def pair(name: str, password: str) -> str:
    return b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    users, tokens = tmp_path / "users", tmp_path / "tokens"
    users.write_text(f"reader:{hashed('r')}\nboss:{hashed('ü')}:role=operate\n")
    tokens.write_text(f"# programs\nprometheus:{TOKEN}\nrobot:{TOKEN}-2:role=operate\n")
    return users, tokens


async def test_users_and_tokens(files: tuple[Path, Path]) -> None:
    """Right ones with their roles, wrong ones nobody; each scheme with its own."""
    logins = Logins(*map(str, files))
    for scheme, credentials, caller in (
        ("basic", pair("reader", "r"), Caller("reader", "read")),
        ("basic", pair("boss", "ü"), Caller("boss", "operate")),
        ("basic", pair("boss", "wrong"), None),
        ("basic", pair("nobody", "r"), None),
        ("basic", "no base64", None),
        ("bearer", TOKEN, Caller("prometheus", "read")),
        ("bearer", f"{TOKEN}-2", Caller("robot", "operate")),
        ("bearer", "wrong", None),
        ("basic", TOKEN, None),
        ("digest", pair("reader", "r"), None),
    ):
        assert await logins.check(scheme, credentials, "192.0.2.1") == caller, (scheme, credentials)
    logins.close()


async def test_guessing_is_bounded_and_locks_nobody_out(files: tuple[Path, Path]) -> None:
    """An address that failed ten times waits; who is known already still gets in."""
    logins = Logins(*map(str, files))
    assert await logins.check("basic", pair("reader", "r"), "192.0.2.9")
    for number in range(10):
        assert await logins.check("basic", pair("reader", f"guess {number}"), "192.0.2.9") is None
    with pytest.raises(BusyError):
        await logins.check("basic", pair("reader", "guess"), "192.0.2.9")
    assert await logins.check("basic", pair("reader", "r"), "192.0.2.9")
    assert await logins.check("basic", pair("boss", "ü"), "192.0.2.10")
    logins.close()


async def test_files_are_read_again_but_never_emptied_into_openness(files: tuple[Path, Path]) -> None:
    """A line that is gone is gone; an empty or broken file changes nothing."""
    users, tokens = files
    logins = Logins(str(users), str(tokens))
    tokens.write_text("")
    users.write_text("")
    logins.reload()
    assert await logins.check("bearer", TOKEN, "")
    assert await logins.check("basic", pair("reader", "r"), "")
    tokens.write_text(f"other:{TOKEN}-3\n")
    users.write_text(f"boss:{hashed('ü')}:role=operate\n")
    logins.reload()
    assert await logins.check("bearer", TOKEN, "") is None
    assert await logins.check("bearer", f"{TOKEN}-3", "") == Caller("other", "read")
    assert await logins.check("basic", pair("reader", "r"), "") is None
    logins.close()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("name:short", "16 to 256"),
        (f"name:{TOKEN}:role=admin", "16 to 256"),
        (f"a:{TOKEN}\nb:{TOKEN}", "there already"),
        ("", "no tokens"),
    ],
)
def test_token_files_that_are_none(tmp_path: Path, line: str, words: str) -> None:
    """Refused without quoting a token."""
    path = tmp_path / "tokens"
    path.write_text(line)
    with pytest.raises(ConfigError, match=words) as caught:
        Logins("", str(path))
    assert TOKEN not in str(caught.value)
