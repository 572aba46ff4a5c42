"""The UAPI socket, against listeners that behave and listeners that do not."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.source import uapi
from support.fakes import settle

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _listening(path: Path, serve: Serve) -> AsyncIterator[str]:
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield str(path)
    finally:
        server.close()
        await settle()


def _answering(*parts: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readuntil(b"\n\n") == b"get=1\n\n"
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()
        writer.close()

    return serve


async def test_the_answer_ends_with_its_empty_line_though_the_connection_stays(tmp_path: Path) -> None:
    """In whatever pieces it comes."""
    async with _listening(tmp_path / "s", _answering(b"listen_port=1\nerr", b"no=0\n", b"\n")) as path:
        buffer = bytearray(100)
        size = await uapi.get(path, buffer)
        assert bytes(buffer[:size]) == b"listen_port=1\nerrno=0\n\n"


async def test_an_answer_longer_than_the_buffer_is_refused(tmp_path: Path) -> None:
    """Nothing grows."""
    async with _listening(tmp_path / "s", _answering(b"x" * 200)) as path:
        with pytest.raises(SourceError, match="more than 100 bytes"):
            await uapi.get(path, bytearray(100))


async def test_a_silent_one_is_given_up(tmp_path: Path) -> None:
    """After the patience that was asked for."""
    async with _listening(tmp_path / "s", _answering()) as path:
        with pytest.raises(SourceError, match=r"no answer within 0.05 s"):
            await uapi.get(path, bytearray(100), patience=0.05)


async def test_a_missing_and_a_stale_socket_may_come_back(tmp_path: Path) -> None:
    """Both are temporary, and said in words."""
    with pytest.raises(SourceError, match="No such file") as missing:
        await uapi.get(str(tmp_path / "none"), bytearray(100))
    async with _listening(tmp_path / "s", _answering()):
        (tmp_path / "s").rename(tmp_path / "stale")
    with pytest.raises(SourceError, match="refused") as stale:
        await uapi.get(str(tmp_path / "stale"), bytearray(100))
    assert missing.value.temporary
    assert stale.value.temporary


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.root
async def test_a_socket_of_somebody_else_needs_the_operator() -> None:
    """It is a file permission."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # noqa: PTH101
        async with _listening(Path(directory) / "s", _answering()) as path:
            os.chmod(path, 0o700)  # noqa: PTH101
            os.seteuid(65534)
            try:
                with pytest.raises(SourceError, match="Permission denied") as caught:
                    await uapi.get(path, bytearray(100))
            finally:
                os.seteuid(0)
    assert not caught.value.temporary
