"""Bounded reads of small files: /proc, settings, secrets."""

import os

from proxywatch.errors import SourceError

_LIMIT = 8 << 20


def read(path: str, limit: int = _LIMIT) -> bytes:
    """The whole content.

    Args:
        path: The file.
        limit: The most bytes that the caller is ready to hold.

    Raises:
        SourceError: Absent (temporary), not permitted (not temporary), or longer than the limit.
    """
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib costs 1 MB
            chunks = []
            size = 0
            while chunk := file.read(65536):
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise SourceError(f"{path} is longer than {limit} bytes", temporary=False)
            return b"".join(chunks)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError) -> SourceError:
    """The error of a path that cannot be read, in words."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return SourceError(f"{path}: {reason}", temporary=not isinstance(error, PermissionError))
