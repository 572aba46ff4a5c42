"""Nodes of files that a glob names, looked at every few seconds; a file that cannot be read keeps its nodes."""

import asyncio
import glob
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from proxywatch.balancer.discovery import file_sd
from proxywatch.balancer.discovery.sighting import Sighting, gather
from proxywatch.balancer.node import Node
from proxywatch.clock import Clock
from proxywatch.errors import ParseError, SourceError
from proxywatch.source import file

_LIMIT = 1 << 20
_MOST_FILES = 200


@dataclass(frozen=True, slots=True)
class FileSource:
    """All files of the patterns.

    Attributes:
        patterns: Globs.
        interval: Seconds between two looks.
        clock: To wait by.
    """

    patterns: tuple[str, ...]
    interval: float
    clock: Clock

    async def watch(self) -> AsyncGenerator[Sighting, None]:
        """See `Source`."""
        known: dict[str, _File] = {}
        while True:
            known, sighting = await asyncio.to_thread(_look, self.patterns, known)
            yield sighting
            await self.clock.sleep_until(self.clock.monotonic() + self.interval)


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was last read: its nodes are those of the last time that it could be."""

    content: bytes = b""
    nodes: tuple[Node, ...] = ()
    foreign: int = 0
    fault: str = ""


def _look(patterns: tuple[str, ...], known: dict[str, _File]) -> tuple[dict[str, _File], Sighting]:
    paths = sorted({path for pattern in patterns for path in glob.iglob(pattern)})  # noqa: PTH207 - of strings
    faults = [f"more than {_MOST_FILES} files"] if len(paths) > _MOST_FILES else []
    faults += [f"{it}: no such file" for it in patterns if not glob.has_magic(it) and it not in paths]
    files = {path: _read(path, known.get(path, _File())) for path in paths[:_MOST_FILES]}
    # A file that was named without a pattern and is away, as between two steps of an editor, keeps its nodes.
    files |= {it: known[it] for it in patterns if it in known and it not in files}
    faults += [it.fault for it in files.values() if it.fault]
    nodes = [node for it in files.values() for node in it.nodes]
    return files, gather(nodes, faults, sum(it.foreign for it in files.values()))


def _read(path: str, before: _File) -> _File:
    try:
        content = file.read(path, _LIMIT)
        if content == before.content and before.content:
            return before
        nodes, foreign = file_sd.read(content, path)
    except (SourceError, ParseError) as error:
        return _File(b"", before.nodes, before.foreign, str(error))
    return _File(content, tuple(nodes), foreign)
