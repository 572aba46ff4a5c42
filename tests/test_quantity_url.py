"""URLs of the settings never give away a user that somebody wrote into one."""

import pytest

from proxywatch.errors import ParseError
from proxywatch.quantity import Url


@pytest.mark.parametrize(
    "text",
    [
        "http://user:secret@host/",
        "http:/user:secret@host/",
        "user:secret@host",
        "ftp://user:secret@host/",
        "http://h\0st/user:secret@host",
    ],
)
def test_a_refusal_does_not_quote_a_user(text: str) -> None:
    """However wrong the rest of it is."""
    with pytest.raises(ParseError) as refusal:
        Url.parse(text)
    assert "secret" not in str(refusal.value)


def test_an_at_sign_behind_the_host_is_fine() -> None:
    """It is no user's there."""
    assert Url.parse("https://example.org/a@b") == "https://example.org/a@b"


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("http://example.org/", True),
        ("https://192.0.2.1/", False),
        ("https://8.8.8.8:443/x", True),
        ("http://[2606:4700::1111]/", True),
        ("http://[::1]/", False),
        ("http://10.1.2.3/", False),
        ("http://localhost/", False),
        ("http://web.test/", False),
        ("http://web.cluster.local./", False),
        ("http://web/", False),
    ],
)
def test_what_is_public(text: str, public: bool) -> None:  # noqa: FBT001
    """Servers of others, which are not to be asked too often."""
    assert Url.parse(text).public == public
