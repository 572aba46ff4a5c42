"""Quantities as people write them in a settings file: `30s`, `1MB`, `:9090`, `https://example.org/`."""

import re
from reprlib import Repr
from typing import Self
from urllib.parse import urlsplit

from proxywatch.errors import ParseError

_DURATION = re.compile(r"(\d{1,20}+(?:\.\d{1,20}+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?")
_BYTES = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_USER_INFO = re.compile(r"//[^/@\s']*@")
_LONGEST = 10 * 365 * 86400.0
_LARGEST_PORT = 65535


class _Shown(Repr):
    """Shows little of what is large, and no user of a URL."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxdict = 2, 3, 3

    def repr_str(self, x: str, level: int) -> str:  # noqa: ARG002 - the parent's signature
        return repr(_USER_INFO.sub("//***@", x))[:80]


def show(value: object) -> str:
    """A value for a message: short, and cheap however large it is, or becomes by YAML's references."""
    return _Shown().repr(value)[:100]


class Duration(float):
    """Seconds."""

    expected = "a duration such as 500ms, 30s, 5m or 1h30m"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read `500ms`, `30s`, `5m`, `1h30m`; a bare number is refused, as its unit would be a guess."""
        text = str(value).strip() if isinstance(value, str) else ""
        parts = _DURATION.findall(text)
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
        if match:
            return cls(round(float(match[1]) * _BYTES[match[2] or ""]))
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        raise ParseError(f"expected {cls.expected}, got {show(value)}")

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
        if not colon or not port.isascii() or not port.isdigit() or int(port) > _LARGEST_PORT:
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
        except ValueError:
            raise ParseError(f"expected {cls.expected}") from None
        good = good and text.isascii() and text.isprintable() and " " not in text
        if "@" in parts.netloc or (not good and "@" in text):  # a mistyped one may hold a user as well
            raise ParseError(f"expected {cls.expected}")
        if not good:
            raise ParseError(f"expected {cls.expected}, got {show(value)}")
        return cls(text)
