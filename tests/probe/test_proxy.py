"""The proxy's settings: what is refused, and that the password stays where it is."""

from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.probe.proxy import Proxy
from proxywatch.secret import Secret


@pytest.mark.parametrize(
    "url",
    [
        "", "socks5h://", "1.2.3.4:1080", "ftp://a:1", "socks5h://me:geheim@a:1080", "socks5h://me@a:1080",
        "socks5h://me:ge/heim@a:1080", "socks5h://me:ge#heim@a:1080", "socks5h://me:ge?heim@a:1080",
        "socks5h://a:99999", "socks5h://a:0", "socks5h://a:²", "socks5h://a:1080/x", "socks5h://a?x",
        "socks5h://a b", "socks5h://ä:1", "me:geheim@a:1080", "socks5h://[::1",
    ],
)  # fmt: skip
def test_a_url_that_is_refused(url: str) -> None:
    """Anything that is no proxy, and a password where labels and logs would show it; it is not quoted."""
    with pytest.raises(ValueError, match=r"^url: expected") as caught:
        Proxy(url=url)
    assert "heim" not in str(caught.value)


def test_a_password_that_does_not_fit_into_a_url_gets_the_hint() -> None:
    """Where it goes, and how it is written in a URL of another setting."""
    with pytest.raises(ValueError, match=r"%2F.*%23.*%3F"):
        Proxy(url="socks5h://me:a/b#c?d@host:1080")


def test_two_passwords_are_one_too_many() -> None:
    """It would be a guess which one is meant."""
    with pytest.raises(ValueError, match="password_file"):
        Proxy(password=Secret("a"), password_file="b")


def test_the_password_is_not_shown() -> None:
    """Neither by repr() nor by what prints structs nicely."""
    proxy = Proxy(username="me", password=Secret("geheim"))
    assert "geheim" not in repr(proxy)
    assert proxy.secret() == Secret("geheim")


def test_a_file_that_is_no_password(tmp_path: Path) -> None:
    """Too long, or no text; the message names the file and quotes nothing."""
    file = tmp_path / "secret"
    for content in (b"x" * 10_000, b"\xff\xfegeheim", b"geheim\0"):
        file.write_bytes(content)
        with pytest.raises(SourceError) as caught:
            Proxy(password_file=str(file)).secret()
        assert "geheim" not in str(caught.value)
        assert not caught.value.temporary
