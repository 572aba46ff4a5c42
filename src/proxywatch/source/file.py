"""Bounded reads of small files: /proc, settings, secrets."""

import os
import stat

from proxywatch.errors import SourceError

_LIMIT = 8 << 20


def read(path: str, limit: int = _LIMIT, *, follow: bool = True) -> bytes:
    """The whole content of a regular file; a FIFO or a device is refused, and nothing waits for it.

    Args:
        path: The file.
        limit: The most bytes that the caller is ready to hold.
        follow: Whether the path may be a symbolic link; mounted secrets are.

    Raises:
        SourceError: Absent (temporary), not permitted, no regular file or longer than the limit (neither is).
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        with open(os.open(path, flags), "rb", buffering=0) as file:  # noqa: PTH123 - pathlib costs 1 MB
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SourceError(f"{path}: not a regular file", temporary=False)
            chunks = []
            size = 0
            while chunk := file.read(65536):
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise SourceError(f"{path}: longer than {limit} bytes", temporary=False)
            return b"".join(chunks)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError | ValueError) -> SourceError:
    """The error of a path that cannot be read, in words."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error)
    return SourceError(f"{path}: {reason}", temporary=not isinstance(error, PermissionError))
