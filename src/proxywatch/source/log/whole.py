"""Whole log files, read once from their first line to their last, packed by gzip or not."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedReader, FileIO
from typing import IO, cast

from proxywatch.errors import SourceError
from proxywatch.source import file
from proxywatch.source.log.lines import STANDARD_INPUT
from proxywatch.source.log.splitter import CHUNK, Splitter

_GZIP = b"\x1f\x8b"


def lines(path: str) -> Iterator[bytes]:
    """Complete lines, some at a time; of a line of more than 1 MiB its first 4 KiB.

    A last line without its newline is given one.

    Args:
        path: Of a file; `-` for standard input.

    Raises:
        SourceError: It cannot be read, or what it packs is damaged; what came before was given.
    """
    splitter = Splitter()
    for chunk in _chunks(path):
        if some := splitter.feed(chunk):
            yield some
    if last := splitter.end():
        yield last


def _chunks(path: str) -> Iterator[bytes]:
    try:
        with ExitStack() as stack:
            stream = _open(path, stack)
            while chunk := stream.read(CHUNK):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{path}: damaged, what follows is not read: {error}", temporary=False) from error
    except OSError as error:
        raise file.unreadable(path, error) from error


def _open(path: str, stack: ExitStack) -> IO[bytes]:
    if path == STANDARD_INPUT:
        stream: BufferedReader = BufferedReader(FileIO(0, closefd=False))
    else:
        stream = BufferedReader(FileIO(path))
    stack.enter_context(stream)
    packed = stream.peek(2).startswith(_GZIP)
    return cast("IO[bytes]", stack.enter_context(gzip.open(stream)) if packed else stream)
