"""Log lines in logfmt or JSON: one line per event, whatever the message holds."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_BARE = re.compile(r"[^\s\"=\\]+")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The exporter's own log, on standard error.

    Attributes:
        level: The least severity that is written.
        format: `logfmt` or `json`.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["logfmt", "json"] = "logfmt"


class Formatter(logging.Formatter):
    """Time, level, message, and the fields that were passed as `extra=`."""

    def __init__(self, shape: Literal["logfmt", "json"]) -> None:
        super().__init__()
        self._shape = shape

    def format(self, record: logging.LogRecord) -> str:
        """One line, control characters escaped."""
        fields = _fields(record)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if self._shape == "json":
            return json.dumps(fields, default=str)
        return " ".join(f"{key}={_quote(value)}" for key, value in fields.items())


def install(settings: Settings) -> None:
    """Send all logging to standard error in the chosen form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(settings.format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.getLogger("asyncio").setLevel("WARNING")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    return {
        "ts": time.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "msg": record.getMessage(),
        **extra,
    }


def _quote(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and _BARE.fullmatch(text) else json.dumps(text)
