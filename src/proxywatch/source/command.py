"""A short-lived child process whose output may hold secrets: it is received into the caller's own buffer."""

import asyncio
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress

from proxywatch.errors import SourceError
from proxywatch.source.uapi import receive


async def run(*command: str, into: bytearray, patience: float = 2.0) -> int:
    """Run it to its end; returns how many bytes of the buffer its output fills.

    Args:
        command: The program and its arguments.
        into: Where the output is put; whoever hands it in wipes it, also after an error.
        patience: Seconds; a child that takes longer is killed.

    Raises:
        SourceError: No such program (not temporary), a bad exit status, too slow, or too long.
    """
    ours, childs = socket.socketpair()
    with ours, childs:
        ours.setblocking(False)  # noqa: FBT003 - positional only
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=childs.fileno(), stderr=PIPE
            )
        except OSError as error:
            raise SourceError(f"{command[0]}: {error.strerror}", temporary=False) from error
        childs.close()
        return await _finish(process, ours, into, command[0], patience)


async def _finish(process: Process, ours: socket.socket, into: bytearray, name: str, patience: float) -> int:
    try:
        async with asyncio.timeout(patience):
            size = await receive(ours, into)
            _, errors = await process.communicate()
    except TimeoutError:
        raise SourceError(f"{name}: no answer within {patience:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        words = errors.decode(errors="replace").strip() or f"exit status {process.returncode}"
        raise SourceError(f"{name}: {words}")
    return size
