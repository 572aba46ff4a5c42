"""Child processes, real ones."""

import sys

import pytest

from proxywatch.errors import SourceError
from proxywatch.source import command


async def test_its_output_is_received_into_the_buffer() -> None:
    """Up to its end."""
    buffer = bytearray(100)
    size = await command.run("printf", "a\tb\n", into=buffer, patience=10)
    assert bytes(buffer[:size]) == b"a\tb\n"


async def test_a_program_that_does_not_exist() -> None:
    """It needs the operator."""
    with pytest.raises(SourceError, match="No such file") as caught:
        await command.run("/nonexistent/wg", into=bytearray(100), patience=10)
    assert not caught.value.temporary


async def test_a_bad_exit_status_is_told_in_the_childs_own_words() -> None:
    """Those of its standard error."""
    with pytest.raises(SourceError, match="sh: it is not there"):
        await command.run("sh", "-c", "echo it is not there >&2; exit 1", into=bytearray(100), patience=10)
    with pytest.raises(SourceError, match="exit status 3"):
        await command.run("sh", "-c", "exit 3", into=bytearray(100), patience=10)


async def test_a_child_that_hangs_is_killed() -> None:
    """Nothing is left running."""
    with pytest.raises(SourceError, match="no answer"):
        await command.run("sleep", "60", into=bytearray(100), patience=0.1)


async def test_a_child_that_talks_too_much_is_killed() -> None:
    """The buffer does not grow."""
    with pytest.raises(SourceError, match="more than 100 bytes"):
        await command.run(sys.executable, "-c", "print('x' * 1000000)", into=bytearray(100), patience=10)
