"""The web configuration file that Prometheus's exporters share: TLS, users, headers, a rate limit.

Two of its words mean nothing here: HTTP/2 is not spoken, and `prefer_server_cipher_suites` is how it always
is. What cannot be kept is refused with a sentence rather than ignored.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import msgspec

from proxywatch.errors import ConfigError, Fault, SourceError
from proxywatch.source import file

Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
ClientAuth = Literal[
    "", "NoClientCert", "RequestClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]  # fmt: skip
_HASH = r"^\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}$"
_PLACE = re.compile(r"(.*) - at `(?:key in )?\$\.?(.*?)`")


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tls_server_config`: each of the three texts inline or as a file."""

    cert: str = ""
    key: str = ""
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: ClientAuth = ""
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()


class Headers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Headers that every response carries."""

    csp: str = msgspec.field(default="", name="Content-Security-Policy")
    frame: Literal["", "deny", "sameorigin"] = msgspec.field(default="", name="X-Frame-Options")
    sniff: Literal["", "nosniff"] = msgspec.field(default="", name="X-Content-Type-Options")
    xss: str = msgspec.field(default="", name="X-XSS-Protection")
    hsts: str = msgspec.field(default="", name="Strict-Transport-Security")

    def lines(self) -> bytes:
        """As they stand in a response.

        Raises:
            ValueError: One of them has more than one line.
        """
        named = msgspec.to_builtins(self).items()
        if any(not value.isprintable() for _, value in named):
            raise ValueError("expected headers of one line each")
        return "".join(f"{name.lower()}: {value}\r\n" for name, value in named if value).encode()


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`http_server_config`."""

    http2: bool = True
    headers: Headers = Headers()


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rate_limit`: a bucket of `burst` requests that gains one every `interval`."""

    interval: str = "0s"
    burst: Annotated[int, msgspec.Meta(ge=0)] = 0


class WebConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    tls_server_config: Tls | None = None
    http_server_config: Http = Http()
    basic_auth_users: dict[str, Annotated[str, msgspec.Meta(pattern=_HASH)]] = {}
    rate_limit: RateLimit = RateLimit()


def load(path: str) -> WebConfig:
    """Read the file.

    Raises:
        ConfigError: It cannot be read, is no YAML, or says something unknown.
    """
    import yaml  # noqa: PLC0415 - only those with such a file pay

    try:
        content = yaml.safe_load(file.read(path))
        return msgspec.convert({} if content is None else content, WebConfig)
    except SourceError as error:
        raise ConfigError(Fault("http.web_config", str(error))) from error
    except yaml.YAMLError as error:
        raise ConfigError(Fault(path, f"not YAML: {error}")) from error
    except msgspec.ValidationError as error:
        raise ConfigError(_fault(path, str(error))) from error


def _fault(path: str, message: str) -> Fault:
    if "matching regex" in message:
        return Fault(f"{path} basic_auth_users", "expected a bcrypt hash, as `htpasswd -nBC 10 NAME` prints")
    found = _PLACE.fullmatch(message)
    return Fault(f"{path} {found[2]}", found[1]) if found else Fault(path, message)


@contextmanager
def text_as_file(text: str) -> Iterator[str]:
    """A path, for libraries that read files alone, to a text that never reaches a disk."""
    descriptor = os.memfd_create("proxywatch")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
