"""`proxywatch balancer`: the commands of the balancer."""

import os
from collections.abc import Callable

import click

from proxywatch import commands
from proxywatch.config import Config, load
from proxywatch.errors import ConfigError


@click.group()
def balancer() -> None:
    """One address in front of a pool of VPN-backed proxies."""


@balancer.command()
@commands.config_option
def run(path: str | None) -> None:
    """Run the balancer until SIGTERM or SIGINT; SIGHUP reads the settings again."""
    from proxywatch import logs  # noqa: PLC0415 - the other commands need less
    from proxywatch.balancer import daemon  # noqa: PLC0415

    logs.install(logs.Settings())
    commands.run_daemon(lambda: daemon.run(reader(path)))


@balancer.command()
@commands.config_option
@click.option("--offline", is_flag=True, help="Validate the settings only.")
def check(path: str | None, *, offline: bool) -> None:
    """Validate the settings, look at every node, and say what is wrong with it and how to fix it."""
    from proxywatch.balancer import doctor  # noqa: PLC0415

    try:
        findings = commands.run(doctor.examine(reader(path)(), offline=offline))
    except ConfigError as error:
        commands.refuse(error)
    click.echo(doctor.text(findings))
    raise SystemExit(1 if any(finding.level == "fault" for _, finding in findings) else 0)


@balancer.command()
@click.argument("country")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Of the balancer's API.")
@click.option("--user", default="", help="`name:password`, where the API has users.")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def best(country: str, url: str, user: str, *, as_json: bool) -> None:
    """Print a country's best node, and why it is."""
    from proxywatch.balancer import terminal  # noqa: PLC0415

    click.echo(terminal.best(terminal.Api(url, user), country, as_json=as_json))


@balancer.command()
@click.argument("decision")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Of the balancer's API.")
@click.option("--user", default="", help="`name:password`, where the API has users.")
def explain(decision: str, url: str, user: str) -> None:
    """Say why a node was chosen; DECISION is an id, or `last`."""
    from proxywatch.balancer import terminal  # noqa: PLC0415

    click.echo(terminal.explain(terminal.Api(url, user), decision))


@balancer.command()
@click.option(
    "--hours", default=24, show_default=True, type=click.IntRange(1, 24), help="Of the last how many hours."
)
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Of the balancer's API.")
@click.option("--user", default="", help="`name:password`, where the API has users.")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def report(hours: int, url: str, user: str, *, as_json: bool) -> None:
    """Print the report of the last hours, as Markdown or JSON."""
    from proxywatch.balancer import terminal  # noqa: PLC0415

    click.echo(terminal.report(terminal.Api(url, user), hours, as_json=as_json))


@balancer.command()
def demo() -> None:
    """Show everything on this machine: three real proxies that differ, clients, a fault a minute; ends with Ctrl-C."""
    from proxywatch.balancer import demo as stage  # noqa: PLC0415

    commands.run(stage.show())


def reader(path: str | None) -> Callable[[], Config]:
    """What reads the settings, now and at each reload; all that can be wrong is a ConfigError."""

    def read() -> Config:
        from proxywatch.balancer.config import SCHEMA  # noqa: PLC0415

        return load(commands.text_of(path), os.environ, SCHEMA, commands.name_of(path))

    return read
