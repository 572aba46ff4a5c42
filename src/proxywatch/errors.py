"""Every error of our own. Each says whose fault it is and whether trying again can help.

ProxywatchError
|-- ConfigError     the operator's: every fault of the settings at once, each with its place
|-- SourceError     the machine's: a file, socket or process that cannot be read; `temporary` or not
|-- ParseError      the other program's: bytes that do not follow the format we know
`-- NoData          nobody's: all was read, and there was nothing to measure
"""

from dataclasses import dataclass


class ProxywatchError(Exception):
    """The root; never raised itself."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in the settings.

    Attributes:
        place: Where, as the operator would look for it: `proxywatch.yaml:12 latency.timeout`.
        message: What is wrong and what was expected.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class ConfigError(ProxywatchError):
    """The settings cannot be used; `faults` lists everything that is wrong with them."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class SourceError(ProxywatchError):
    """A part of the machine cannot be read.

    Attributes:
        temporary: True when the same call may succeed later without anybody's help, or once a part of the
            pod that is absent appears; False when it needs the operator (a permission, for example).
    """

    def __init__(self, message: str, *, temporary: bool = True) -> None:
        super().__init__(message)
        self.temporary = temporary


class ParseError(ProxywatchError):
    """Bytes that do not follow the format; the message never quotes what may be a secret."""


class NoData(ProxywatchError):  # noqa: N818 - a verdict of its own, not an error of anybody
    """All was read, and what was to be measured did not happen; the message says why."""
