"""`proxywatch dns`: the commands of the forwarder."""

import os
from collections.abc import Callable

import click

from proxywatch import commands
from proxywatch.config import Config, load
from proxywatch.errors import ConfigError


@click.group()
def dns() -> None:
    """A DNS forwarder for a proxy's pod."""


@dns.command()
@commands.config_option
def run(path: str | None) -> None:
    """Run the forwarder until SIGTERM or SIGINT; SIGHUP reads the block list again."""
    from proxywatch import logs  # noqa: PLC0415 - the other commands need less
    from proxywatch.dns import daemon  # noqa: PLC0415

    logs.install(logs.Settings())
    commands.run_daemon(lambda: daemon.run(reader(path)))


@dns.command()
@commands.config_option
@click.option("--offline", is_flag=True, help="Validate the settings only.")
def check(path: str | None, *, offline: bool) -> None:
    """Validate the settings, ask every resolver, and say what is wrong and how to fix it."""
    from proxywatch.dns import doctor  # noqa: PLC0415

    try:
        findings = commands.run(doctor.examine(reader(path)(), offline=offline))
    except ConfigError as error:
        commands.refuse(error)
    for finding in findings:
        click.echo(f"{finding.level:5}  {finding.text}")
        if finding.fix:
            click.echo(f"       -> {finding.fix}")
    raise SystemExit(1 if any(finding.level == "fault" for finding in findings) else 0)


def reader(path: str | None) -> Callable[[], Config]:
    """What reads the settings, now and at each reload; all that can be wrong is a ConfigError."""

    def read() -> Config:
        from proxywatch.dns.config import SCHEMA  # noqa: PLC0415

        return load(commands.text_of(path), os.environ, SCHEMA, commands.name_of(path))

    return read
