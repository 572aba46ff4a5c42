"""The web configuration file that Prometheus's exporters share: TLS, users, headers, a rate limit.

Three of its words mean nothing here: HTTP/2 is not spoken, `prefer_server_cipher_suites` is how it always
is, and RequestClientCert asks for certificates that nobody looks at. What cannot be kept is refused with a
sentence rather than ignored. No message quotes a value that may be a secret.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from proxywatch.config import document as yaml_document
from proxywatch.errors import ConfigError, Fault, SourceError
from proxywatch.source.file import unreadable

Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
ClientAuth = Literal[
    "", "NoClientCert", "RequestClientCert", "RequireAnyClientCert", "RequireClientCert",
    "VerifyClientCertIfGiven", "RequireAndVerifyClientCert",
]  # fmt: skip
Switch = Literal[
    "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y",
    "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N",
]  # fmt: skip
_OFF = ("f", "n")
_HASH = r"^\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}$"
_PLACE = re.compile(r"(.*) - at `(?:key in )?\$\.?(.*?)`")
_SECRET = re.compile(r"\$2[abxy]?\$\S*")
_LONGEST_MESSAGE = 200
_LARGEST_FILE = 256 << 10
# A key of these that was there once has to be there for ever, if only as an empty one: see `lost`.
_PROTECTIVE = re.compile(
    r"basic_auth_users|rate_limit|http_server_config\.headers\.[^.]+|tls_server_config"
    r"|tls_server_config\.(?:client_auth_type|client_allowed_sans|min_version|cipher_suites)"
)


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
    prefer_server_cipher_suites: Switch = "true"
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
            ValueError: One of them has more than one line, or is not ASCII.
        """
        named = msgspec.to_builtins(self).items()
        if any(not (value.isprintable() and value.isascii()) for _, value in named):
            raise ValueError("expected headers of one line each, in ASCII")
        return "".join(f"{name.lower()}: {value}\r\n" for name, value in named if value).encode()


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`http_server_config`."""

    http2: Switch = "true"
    headers: Headers = Headers()

    @property
    def speaks_http2(self) -> bool:
        """Whether an exporter that can would speak HTTP/2."""
        return not (self.http2.lower().startswith(_OFF) or self.http2.lower() == "off")


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


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read.

    Attributes:
        config: What it sets.
        keys: Every key that it names, as `section.key`, with its value.
    """

    config: WebConfig
    keys: Mapping[str, Any]


def load(path: str) -> Loaded:
    """Read the file.

    Raises:
        ConfigError: It cannot be read, is no YAML, or has something unknown in it.
    """
    try:
        written = yaml_document.texts(yaml_document.load(read_regular(path), path))
        document = _without_nothing(written)
        config = msgspec.convert(document, WebConfig, strict=False)
    except SourceError as error:
        raise ConfigError(Fault("http.web_config", str(error))) from error
    except msgspec.ValidationError as error:
        raise ConfigError(_fault(path, str(error))) from None
    if config.tls_server_config == Tls():
        config = msgspec.structs.replace(config, tls_server_config=None)
    return Loaded(config, dict(_keys(document)))


def _keys(document: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield each key of a document with its value, the key as `section.key`."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield prefix + key, value
            yield from _keys(value, f"{prefix}{key}.")


def lost(old: Loaded, new: Loaded) -> list[str]:
    """Return the keys that protect, are in force, and are missing in a new file.

    A file that was emptied or cut off while it was written must not open a port. So a key that protects has
    to stay; to do without it, write so: `basic_auth_users: {}`, `client_auth_type: NoClientCert`.
    """
    emptied = [key for key, value in new.keys.items() if value in ({}, [])]
    return [
        key
        for key, value in old.keys.items()
        if value and _PROTECTIVE.fullmatch(key) and key not in new.keys
        if not any(key.startswith(f"{section}.") for section in emptied)
    ]


def _without_nothing(document: Any) -> Any:  # noqa: ANN401
    """The document without sections and keys that hold nothing, which is as if they were not there."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        return document
    kept = {key: value for key, value in document.items() if value is not None}
    for key in ("tls_server_config", "http_server_config", "rate_limit"):
        if isinstance(kept.get(key), dict):
            kept[key] = _without_nothing(kept[key])
    http = kept.get("http_server_config")
    if isinstance(http, dict) and isinstance(http.get("headers"), dict):
        http["headers"] = _without_nothing(http["headers"])
    return kept


def _fault(path: str, message: str) -> Fault:
    if "matching regex" in message or "basic_auth_users" in message:
        return Fault(f"{path} basic_auth_users", "expected a bcrypt hash, as `htpasswd -nBC 10 NAME` prints")
    found = _PLACE.fullmatch(message)
    place, text = (f"{path} {found[2]}", found[1]) if found else (path, message)
    return Fault(place, _SECRET.sub("(a hash)", text)[:_LONGEST_MESSAGE])


def read_regular(path: str) -> bytes:
    """Read a file that is one: a pipe or a device in its place would never end.

    Raises:
        SourceError: It cannot be read, is no regular file, or is larger than such files are.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SourceError(f"{path}: not a regular file", temporary=False)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if len(content) > _LARGEST_FILE:
        raise SourceError(f"{path} is longer than {_LARGEST_FILE} bytes", temporary=False)
    return content


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """A path, for libraries that read files alone, to bytes that never reach a disk."""
    descriptor = os.memfd_create("proxywatch")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
