"""Quantities as people write them in a settings file: `30s`, `1MB`, `:9090`, `https://example.org/`."""

import re
from typing import Self
from urllib.parse import urlsplit

from proxywatch.errors import ParseError

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?")
_BYTES = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_LONGEST_SHOWN = 80
_LONGEST_URL = 2048
_LARGEST = 1 << 62
_LONGEST = 10 * 365 * 86400.0
_PORT = re.compile(r"[0-9]{1,5}")
_LARGEST_PORT = 65535
_PRIVATE_DOMAINS = (
    ".localhost", ".local", ".internal", ".lan", ".home.arpa", ".svc", ".test", ".invalid",
)  # fmt: skip


def show(value: object) -> str:
    """A value for a message: short, without the user of a URL, and of a list or mapping only what it is.

    Of a text with spaces the first word is shown: a quote that is not closed takes the next lines in.
    """
    match value:
        case str():
            word = _without_user(value).split(maxsplit=1)
            return repr(word[0][:_LONGEST_SHOWN] + "…" * (len(word) > 1)) if word else repr(value[:3])
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return repr(value)[:_LONGEST_SHOWN]


def _without_user(text: str) -> str:
    """Without what may be a user and a password, which may hold slashes themselves."""
    start, end = text.find("//") + 2, text.rfind("@")
    if end < 0:
        return text
    return f"{text[:start] if 1 < start <= end else ''}***{text[end:]}"


class Duration(float):
    """Seconds."""

    expected = "a duration such as 500ms, 30s, 5m or 1h30m"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `500ms`, `30s`, `5m`, `1h30m`; a bare number is refused, as its unit would be a guess."""
        text = str(value).strip() if isinstance(value, str) else ""
        parts = _DURATION.findall(text[:_LONGEST_SHOWN])
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ParseError(f"expected {cls.expected}, got {show(value)}")
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        if seconds > _LONGEST:
            raise ParseError(f"expected {cls.expected} of at most ten years, got {show(value)}")
        return cls(seconds)

    def __str__(self) -> str:
        """The shortest way to write it that reads back the same."""
        if self and self < 1:
            return f"{float(self) * 1000:g}ms"
        for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
            if self and self % length == 0:
                return f"{int(self // length)}{unit}"
        return f"{float(self):g}s"


class Size(int):
    """Bytes."""

    expected = "a size such as 1MB, 64KiB or 1000000"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `1MB` (10^6), `1MiB` (2^20) or plain bytes."""
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        size = value if isinstance(value, int) and not isinstance(value, bool) else -1
        if match:
            unit = _BYTES[match[3] or ""]
            size = int(match[1]) * unit + (round(float(f"0.{match[2]}") * unit) if match[2] else 0)
        if not 0 <= size <= _LARGEST:
            raise ParseError(f"expected {cls.expected}, got {show(value)}")
        return cls(size)

    def __str__(self) -> str:
        """The shortest way to write it that reads back the same."""
        for unit in ("TB", "GB", "MB", "kB"):
            if self and self % _BYTES[unit] == 0:
                return f"{int(self) // _BYTES[unit]}{unit}"
        return str(int(self))


class Address(str):
    """Where to listen: `:9090`, `[::]:9090`, `127.0.0.1:0`, `unix:/run/proxywatch.sock`."""

    __slots__ = ()

    expected = "an address such as :9090, 127.0.0.1:9090, [::1]:9090 or unix:/run/proxywatch.sock"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read an address; port 0 lets the kernel choose."""
        text = str(value).strip()
        if text.startswith("unix:/"):
            return cls(text)
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not _PORT.fullmatch(port) or int(port) > _LARGEST_PORT:
            raise ParseError(f"expected {cls.expected}, got {show(value)}")
        if (":" in host) != bracketed:
            raise ParseError(f"expected {cls.expected} (IPv6 in brackets), got {show(value)}")
        return cls(text)

    @property
    def path(self) -> str | None:
        """The path of a unix socket, else None."""
        return self.removeprefix("unix:") if self.startswith("unix:/") else None

    @property
    def host(self) -> str | None:
        """The host without brackets; None for every address of both families."""
        return self.rpartition(":")[0].strip("[]") or None

    @property
    def port(self) -> int:
        """The port; 0 lets the kernel choose."""
        return int(self.rpartition(":")[2])


class Url(str):
    """What to fetch: http or https, without a user, whose password would end up in labels and logs."""

    __slots__ = ()

    expected = "a URL such as https://example.org/, http or https, without a user in it"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a URL; the message of a refusal does not quote one that holds a user."""
        text = value if isinstance(value, str) else ""
        try:
            parts = urlsplit(text)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
            good = good and len(text) <= _LONGEST_URL
        except ValueError:
            raise ParseError(f"expected {cls.expected}") from None
        good = good and text.isascii() and text.isprintable() and " " not in text
        if "@" in parts.netloc or (not good and "@" in text):  # a mistyped one may hold a user as well
            raise ParseError(f"expected {cls.expected}")
        if not good:
            raise ParseError(f"expected {cls.expected}, got {show(value)}")
        return cls(text)

    @property
    def public(self) -> bool:
        """Whether it is on the public network, as far as its host's name or address says."""
        from ipaddress import ip_address  # noqa: PLC0415 - the health check does without

        host = urlsplit(self).hostname or ""
        try:
            return ip_address(host).is_global
        except ValueError:
            return "." in host.rstrip(".") and not host.rstrip(".").endswith(_PRIVATE_DOMAINS)
