"""The proxy under watch, and how to log in to it."""

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from proxywatch.errors import SourceError
from proxywatch.secret import Secret
from proxywatch.source import file

_SCHEMES = ("socks5h", "socks5", "socks4a", "http", "https")
_LONGEST_PASSWORD = 4096
_UNFIT = re.compile(r"\s|//[^/?#]*([/?#].+|[?#])")  # a space, or something behind the host
_NO_USER = (
    "url: expected one without user and password: they go into username and password_file, as they are; "
    "elsewhere write / as %2F, # as %23, ? as %3F and @ as %40"
)


class Proxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The proxy under watch.

    Attributes:
        name: Its name, the `proxy_name` label of every series; empty takes the host name.
        url: Where it listens: socks5h (names are resolved by the proxy), socks5 (names are resolved here),
            socks4a, http or https, without user and password.
        username: Who logs in; empty for a proxy that asks for nobody.
        password_file: The file that holds the password, read again for every probe.
        kind: `dante`; or `generic`, any other: then nothing asks for Dante's log, processes or danted.conf.
            `auto` looks who listens, and takes it for Dante where that cannot be seen.
        password: The password itself, for the environment variable PROXYWATCH_PROXY_PASSWORD; in a settings
            file use `password_file`.
    """

    name: str = ""
    url: str = "socks5h://127.0.0.1:1080"
    username: str = ""
    password_file: str = ""
    password: Secret = Secret()
    kind: Literal["auto", "dante", "generic"] = "auto"

    def __post_init__(self) -> None:
        """Refuse what curl would read differently from what was meant; the message holds no secret."""
        if "@" in self.url:
            raise ValueError(_NO_USER)
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or not self.url.isascii() or not self.url.isprintable() or _UNFIT.search(self.url):
            raise ValueError(f"url: expected one such as socks5h://127.0.0.1:1080, of {', '.join(_SCHEMES)}")
        if self.password and self.password_file:
            raise ValueError("password_file: expected that or a password, got both")

    @property
    def scheme(self) -> str:
        """How to speak to it."""
        return urlsplit(self.url).scheme

    def secret(self) -> Secret:
        """The password, without the line end that editors leave.

        Raises:
            SourceError: The password file cannot be read, or holds no password.
        """
        if not self.password_file:
            return self.password
        content = file.read(self.password_file, _LONGEST_PASSWORD)
        try:
            password = content.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise SourceError(f"{self.password_file}: not a password in UTF-8", temporary=False) from None
        if "\0" in password:
            raise SourceError(f"{self.password_file}: not a password, as it holds a NUL", temporary=False)
        return Secret(password)
