"""The command line."""

import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, NoReturn

import click

from proxywatch import __version__
from proxywatch.config import Config, Schema, load
from proxywatch.errors import ConfigError, Fault, SourceError
from proxywatch.printable import printable, printable_lines
from proxywatch.source import file

_FAULTS = 2
_LARGEST_FILE = 1 << 20
_OTHERS = {"balancer": "proxywatch.balancer.cli", "dns": "proxywatch.dns.cli"}
_config_option = click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    help="Settings in YAML; without it, defaults and the environment.",
)


class _Commands(click.Group):
    """The exporter's commands, and those of other daemons, which are imported only when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_OTHERS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _OTHERS:
            return super().get_command(ctx, cmd_name)
        from importlib import import_module  # noqa: PLC0415 - a health check does without

        try:
            command: click.Command = getattr(import_module(_OTHERS[cmd_name]), cmd_name)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{error.name} is missing: pip install 'proxywatch[{cmd_name}]'"
            ) from error
        return command


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__)
def main() -> None:
    """Show Prometheus, Kubernetes and people what a client of this proxy gets."""


@main.command()
@_config_option
@click.option("--watch", is_flag=True, help="Read the settings again whenever FILE changes.")
def run(path: str | None, *, watch: bool) -> None:
    """Run the exporter until SIGTERM or SIGINT; SIGHUP reads the settings again."""
    from proxywatch import logs  # noqa: PLC0415 - the other commands need less
    from proxywatch.exporter import daemon  # noqa: PLC0415

    logs.install(logs.Settings())
    faults: list[Fault] = []
    status = 0
    try:
        status = _run(daemon.run(reader(path), watched=path if watch else None))
    except* ConfigError as group:  # a task group may have wrapped it
        faults = [fault for error in _leaves(group) for fault in error.faults]
    if faults:
        _refuse(ConfigError(*faults))
    sys.exit(status)


@main.command()
@_config_option
@click.option(
    "--offline", is_flag=True, help="Validate the settings alone; no probe, no look at the machine."
)
def check(path: str | None, *, offline: bool) -> None:
    """Validate the settings, look at the machine, and print what is missing and how to fix it."""
    try:
        config = reader(path)()
    except ConfigError as error:
        _refuse(error)
    if offline:
        _show(f"the settings {f'in {path} ' if path else ''}are valid")
        return
    from proxywatch.exporter import doctor  # noqa: PLC0415

    logging.getLogger().addHandler(logging.NullHandler())  # what is logged meanwhile is in the findings
    diagnosis = _run(doctor.diagnose(config))
    _show(diagnosis.text())
    sys.exit(0 if diagnosis.healthy else 1)


@main.command()
@_config_option
@click.argument("check_path", metavar="[PATH]", default="/livez")
def healthcheck(path: str | None, check_path: str) -> None:
    """Ask the running exporter's health port; exit 0 when it answers 200 (for images without a shell)."""
    from proxywatch.health import client  # noqa: PLC0415
    from proxywatch.health import settings as health  # noqa: PLC0415

    try:
        config = load(
            _content(path), os.environ, Schema({"health": health.Settings}), _name(path), others=True
        )
    except ConfigError as error:
        _refuse(error)
    address = config[health.Settings].listen[0]
    try:
        healthy, text = client.ask(address, check_path)
    except OSError as error:
        healthy, text = False, f"no answer on {address}: {str(error) or 'too slow'}"
    _show(text or ("ok" if healthy else "failing"))
    sys.exit(0 if healthy else 1)


@main.command()
@click.argument("url", required=False)
@_config_option
def status(url: str | None, path: str | None) -> None:
    """Show what the status page shows; URL is an exporter, by default the one of the settings."""
    from proxywatch.exporter import server as exposition  # noqa: PLC0415
    from proxywatch.exporter import terminal  # noqa: PLC0415

    try:
        status = terminal.fetch(url or terminal.local(reader(path)()[exposition.Settings].listen[0]))
    except ConfigError as error:
        _refuse(error)
    except SourceError as error:
        raise click.ClickException(printable(str(error))) from error
    click.echo(terminal.render(status))


@main.command("log")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def read_logs(files: tuple[str, ...], *, as_json: bool) -> None:
    """Report what whole logs of Dante hold, oldest FILE first, compressed or not; - is standard input."""
    from proxywatch.exporter import log_report  # noqa: PLC0415

    try:
        report = log_report.read(files)
    except SourceError as error:
        raise click.ClickException(printable(str(error))) from error
    if as_json:
        click.echo(log_report.encoded(report))
    else:
        _show(log_report.text(report).removesuffix("\n"))
    if not report.log_time:
        raise click.ClickException("no line of these is Dante's")


@main.command()
@click.argument("what", type=click.Choice(["metrics", "config"]), default="metrics")
@click.option(
    "--yaml", "as_yaml", is_flag=True, help="With config: a settings file with every key, commented out."
)
def describe(what: str, *, as_yaml: bool) -> None:
    """Print the reference of metrics or settings, generated from the code."""
    from proxywatch import reference  # noqa: PLC0415
    from proxywatch.exporter.settings import SCHEMA  # noqa: PLC0415

    if what == "metrics":
        click.echo(_run(_metrics()), nl=False)
    else:
        click.echo(reference.sample(SCHEMA) if as_yaml else reference.settings(SCHEMA), nl=False)


async def _metrics() -> str:
    from proxywatch import reference  # noqa: PLC0415
    from proxywatch.exporter import daemon  # noqa: PLC0415

    return reference.metrics(daemon.every_publisher())


@main.command()
@click.option("--balancer", is_flag=True, help="The balancer's demo as well, in front of three more proxies.")
def demo(*, balancer: bool) -> None:
    """Show everything on this machine: a proxy, a target, some traffic, the exporter; ends with Ctrl-C."""
    if not balancer:
        _run(_demo())
        return
    import subprocess  # noqa: PLC0415

    beside = subprocess.Popen([sys.executable, "-m", "proxywatch", "balancer", "demo"])
    try:
        _run(_demo())
    finally:
        beside.terminate()
        beside.wait()


async def _demo() -> None:
    import asyncio  # noqa: PLC0415
    import random  # noqa: PLC0415

    from proxywatch.exporter import daemon  # noqa: PLC0415
    from proxywatch.exporter import demo as stage  # noqa: PLC0415
    from proxywatch.exporter.settings import SCHEMA  # noqa: PLC0415

    async with stage.place() as where, asyncio.TaskGroup() as tasks:
        clients = tasks.create_task(stage.traffic(where, random.Random()), name="traffic")  # noqa: S311
        read = partial(load, stage.settings(where), {}, SCHEMA, "demo")
        await daemon.run(
            read, lambda listeners: click.echo(stage.welcome(where, listeners.http, listeners.health))
        )
        clients.cancel()


def reader(path: str | None) -> Callable[[], Config]:
    """What reads the settings, now and at each reload; all that can be wrong is a ConfigError."""

    def read() -> Config:
        from proxywatch.exporter import daemon  # noqa: PLC0415
        from proxywatch.exporter.settings import SCHEMA  # noqa: PLC0415

        config = load(_content(path), os.environ, SCHEMA, _name(path))
        daemon.check(config)
        return config

    return read


def _content(path: str | None) -> bytes:
    if path is None:
        return b""
    try:
        return file.read(path, _LARGEST_FILE)
    except SourceError as error:
        raise ConfigError(Fault(path, str(error).removeprefix(f"{path}: "))) from error


def _name(path: str | None) -> str:
    return os.path.basename(path or "")  # noqa: PTH119


def _leaves(group: BaseExceptionGroup[ConfigError]) -> Iterator[ConfigError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _show(text: str) -> None:
    """Print what may hold text of others."""
    click.echo(printable_lines(text))


def _refuse(error: ConfigError) -> NoReturn:
    for fault in error.faults:
        click.echo(f"proxywatch: {printable(str(fault))}", err=True)
    sys.exit(_FAULTS)


def _run(work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever the coroutine returns
    import asyncio  # noqa: PLC0415 - a health check does without

    import uvloop  # noqa: PLC0415

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
