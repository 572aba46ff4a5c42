"""`proxywatch balancer`: the commands of the balancer."""

import os
from collections.abc import Callable
from random import Random
from typing import Any

import click

from proxywatch import commands
from proxywatch.config import Config, load
from proxywatch.errors import ConfigError, ParseError, SourceError
from proxywatch.printable import printable


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


@balancer.command()
@click.argument("journal", metavar="FILE")
@click.option(
    "--strategy", "strategies", multiple=True, metavar="NAME", help="Another strategy; may be repeated."
)
@click.option("--bias", type=click.FloatRange(0, 10), help="Another bias against busy nodes.")
def replay(journal: str, strategies: tuple[str, ...], bias: float | None) -> None:
    """Say what other strategies would have made of the requests in a journal, FILE of `journal.file`."""
    from proxywatch.balancer import journal as journals  # noqa: PLC0415
    from proxywatch.balancer.choosing import replay as replaying  # noqa: PLC0415
    from proxywatch.balancer.choosing.strategy.table import OWN  # noqa: PLC0415

    unknown = set(strategies) - set(OWN)
    if unknown:
        raise click.BadParameter(f"expected one of {', '.join(OWN)}", param_hint="--strategy")

    def again(**changes: Any) -> replaying.Outcome:  # noqa: ANN401 - as replay takes them
        return replaying.replay(records, Random(0), **changes)  # noqa: S311 - the same each time is wanted

    others = [{"strategy": name} for name in strategies] or ([{}] if bias is not None else [])
    try:
        records = list(journals.read(journal))
        own = again()
        outcomes = [replaying.recorded(records), *(again(bias=bias, **other) for other in others)]
    except (SourceError, ParseError) as error:
        raise click.ClickException(printable(str(error))) from error
    except (KeyError, TypeError, ValueError) as error:
        raise click.ClickException("this is no journal of this version") from error
    click.echo(f"{own.same} of {own.picks} the same, with the journal's own strategy")
    click.echo(replaying.report(outcomes), nl=False)


@balancer.command()
@click.argument("scenario", required=False)
@click.option("--nodes", type=click.IntRange(2, 10_000), help="Exits; each scenario has a number of its own.")
@click.option("--strategy", default="health_score", show_default=True, help="Of our side.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the made-up world.")
def simulate(scenario: str | None, nodes: int | None, strategy: str, seed: int) -> None:
    """Run a SCENARIO in a made-up world beside two other algorithms; without one, list them."""
    from proxywatch.balancer.choosing.simulation.scenario import (  # noqa: PLC0415
        SCENARIOS,
        report,
        simulate,
    )
    from proxywatch.balancer.choosing.strategy.table import OWN  # noqa: PLC0415

    if scenario is None:
        width = max(map(len, SCENARIOS))
        for each in SCENARIOS.values():
            click.echo(f"{each.name:{width}}  {each.about}")
        return
    if scenario not in SCENARIOS:
        raise click.BadParameter(f"expected one of {', '.join(SCENARIOS)}", param_hint="SCENARIO")
    if strategy not in OWN:
        raise click.BadParameter(f"expected one of {', '.join(OWN)}", param_hint="--strategy")
    count = nodes or 0
    click.echo(
        report(scenario, simulate(scenario, Random, nodes=count, strategy=strategy, seed=seed), nodes=count)
    )


def reader(path: str | None) -> Callable[[], Config]:
    """What reads the settings, now and at each reload; all that can be wrong is a ConfigError."""

    def read() -> Config:
        from proxywatch.balancer.config import SCHEMA  # noqa: PLC0415

        return load(commands.text_of(path), os.environ, SCHEMA, commands.name_of(path))

    return read
