"""What the commands of all daemons share: reading a settings file, refusing with every fault, running a loop."""

import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn

import click

from proxywatch.errors import ConfigError, Fault, SourceError
from proxywatch.source import file

FAULTS = 2
"""Exit status for settings with faults."""
_LARGEST_FILE = 1 << 20

config_option = click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    help="Settings in YAML; without it, defaults and the environment.",
)


def text_of(path: str | None) -> str:
    """The content of a settings file; empty without one.

    Raises:
        ConfigError: It cannot be read.
    """
    if path is None:
        return ""
    try:
        return file.read(path, _LARGEST_FILE).decode()
    except (SourceError, UnicodeDecodeError) as error:
        raise ConfigError(Fault(path, str(error).removeprefix(f"{path}: "))) from error


def name_of(path: str | None) -> str:
    """The file's name, for the places of faults."""
    return os.path.basename(path or "")  # noqa: PTH119 - pathlib costs 1 MB


def refuse(error: ConfigError) -> NoReturn:
    """Print every fault, and exit."""
    for fault in error.faults:
        click.echo(f"proxywatch: {fault}", err=True)
    sys.exit(FAULTS)


def run_daemon(work: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Run a daemon to its end, and exit with its status; faults of its settings are printed."""
    faults: list[Fault] = []
    status = 0
    try:
        status = run(work())
    except* ConfigError as group:  # a task group may have wrapped it
        faults = [fault for error in _leaves(group) for fault in error.faults]
    if faults:
        refuse(ConfigError(*faults))
    sys.exit(status)


def run(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever the coroutine returns
    """Run a coroutine on uvloop."""
    import asyncio  # noqa: PLC0415 - a health check does without

    import uvloop  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _leaves(group: BaseExceptionGroup[ConfigError]) -> Iterator[ConfigError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
