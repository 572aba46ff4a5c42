"""`proxywatch balancer check`: looks at the settings, the machine and every node; says how to fix what is wrong."""

import asyncio
import resource
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing

from proxywatch.balancer.choosing import settings as choosing
from proxywatch.balancer.choosing.geography import country_code
from proxywatch.balancer.config import Settings
from proxywatch.balancer.daemon import assemble
from proxywatch.balancer.discovery.sighting import Sighting, merge
from proxywatch.balancer.discovery.source import Source
from proxywatch.balancer.facts import probe, speed
from proxywatch.balancer.facts.exposition import Reading, read_exposition
from proxywatch.balancer.facts.fetch import SidecarFetch
from proxywatch.balancer.node import Node, Upstream
from proxywatch.balancer.relay import settings as relay
from proxywatch.balancer.trial import Sections, budget, through
from proxywatch.config import Config
from proxywatch.errors import ParseError, ProxywatchError, SourceError
from proxywatch.finding import Finding
from proxywatch.parse import socks

_PATIENCE = 5.0
_AT_ONCE = 32
_PER_CONNECTION = 2  # descriptors
_SPARE = 64


async def examine(config: Config, *, offline: bool) -> list[tuple[str, Finding]]:
    """Findings with the part that each is about.

    Args:
        config: The settings.
        offline: Whether to look at the settings only.

    Raises:
        ConfigError: The settings have faults.
    """
    settings = assemble(config).settings
    findings = [("settings", finding) for finding in _of_settings(settings)]
    if offline:
        return findings
    findings += [("relay", _descriptors(config[relay.Settings]))]
    sections = Sections(config[probe.Settings], config[speed.Settings], config[choosing.Exit])
    sightings, seen = await _sources(settings.sources)
    merged = merge(settings.nodes, sightings)
    findings += seen + [
        ("discovery", Finding.fault(fault, "Give each node an id of its own.")) for fault in merged.faults
    ]
    findings += [("discovery", finding) for finding in _without_hop(merged)]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def look(node: Node, fetch: SidecarFetch) -> list[tuple[str, Finding]]:
        async with slots:
            found = [await _proxy(node), *await _sidecar(node, fetch)]
        return [(node.id, finding) for finding in found]

    async with (
        aclosing(SidecarFetch(lambda: settings.choosing.collect)) as fetch,
        asyncio.TaskGroup() as group,
    ):
        looks = [
            group.create_task(look(node, fetch), name=f"check {node.id}") for node in merged.nodes.values()
        ]
    found = [finding for task in looks for finding in task.result()]
    tried = await through(list(merged.nodes.values()), sections)
    own = {node.id for node in settings.nodes}
    listed = [(part, finding) for part, finding in found if part in own or finding.level == "fault"]
    findings += [("speed", finding) for finding in budget(len(merged.nodes), sections.speed)]
    return findings + listed + tried


async def _sources(sources: Mapping[str, Source]) -> tuple[dict[str, Sighting], list[tuple[str, Finding]]]:
    """What each source of nodes sees now, and what is wrong with it."""
    sightings: dict[str, Sighting] = {}
    findings: list[tuple[str, Finding]] = []
    for name, source in sources.items():
        try:
            async with asyncio.timeout(_PATIENCE), aclosing(source.watch()) as watched:
                sighting = await anext(watched)
        except TimeoutError:
            text = f"it gives no answer within {_PATIENCE:g} s"
            findings.append((name, Finding.fault(text, f"Correct `discovery.{name}`.")))
            continue
        except ProxywatchError as error:
            findings.append((name, Finding.fault(str(error), f"Correct `discovery.{name}`.")))
            continue
        sightings[name] = sighting
        findings += [(name, finding) for finding in _seen(name, sighting)]
    return sightings, findings


def _seen(name: str, sighting: Sighting) -> Iterator[Finding]:
    for fault in sighting.faults:
        yield Finding.fault(fault, f"Correct it, or `discovery.{name}`.")
    for node, why in sighting.leaving.items():
        yield Finding.hint(f"{node} gets no requests: {why.reason}", "")
    left = f", {sighting.dropped} other entries passed over" if sighting.dropped else ""
    if sighting.nodes:
        yield Finding.ok(f"{len(sighting.nodes)} node{'s' * (len(sighting.nodes) > 1)}{left}")
    else:
        yield Finding.hint(f"no nodes{left}", "Does anything carry the labels that are looked for?")


def _without_hop(merged: Sighting) -> Iterator[Finding]:
    """Nodes that are reached through one that is not there."""
    hops = {node.via for node in merged.nodes.values() if isinstance(node.via, str)}
    for hop in sorted(hops - merged.nodes.keys()):
        yield Finding.fault(
            f"there is no node {hop}, through which others are reached",
            "Add it under `nodes`, or give a URL as `via`.",
        )


def text(findings: Sequence[tuple[str, Finding]]) -> str:
    """For a terminal."""
    width = max((len(part) for part, _ in findings), default=0)
    lines = []
    for part, finding in findings:
        lines.append(f"{finding.level:5}  {part:{width}}  {finding.text}")
        if finding.fix:
            lines.append(f"{'':5}  {'':{width}}  -> {finding.fix}")
    return "\n".join(lines)


def _of_settings(settings: Settings) -> list[Finding]:
    nodes = settings.nodes
    if not nodes and settings.sources:
        return []
    if not nodes:
        return [
            Finding.fault(
                "there are no nodes",
                "List the proxies of the pool under `nodes`, or say under `discovery` where they are found.",
            )
        ]
    countries: dict[str, int] = {}
    for node in nodes:
        countries[node.country] = countries.get(node.country, 0) + 1
    listed = ", ".join(f"{country} {count}" for country, count in sorted(countries.items()))
    findings = [Finding.ok(f"{len(nodes)} nodes: {listed}")]
    alone = sorted(country for country, count in countries.items() if count == 1)
    if alone:
        findings.append(
            Finding.hint(
                f"one node only in {', '.join(alone)}: nothing stands in when it fails",
                "Add a second node, or set `geography.fallback: region`.",
            )
        )
    blind = [node.id for node in nodes if not node.sidecar]
    if blind:
        findings.append(
            Finding.hint(
                f"without a sidecar: {', '.join(blind[:10])}{' ...' if len(blind) > 10 else ''}",  # noqa: PLR2004
                "They are probed and their exits looked at from here; only an exporter beside the proxy knows its load "
                "and its tunnel: give it as `sidecar`.",
            )
        )
    return findings


def _descriptors(settings: relay.Settings) -> Finding:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_connections * _PER_CONNECTION + _SPARE
    if most == resource.RLIM_INFINITY or most >= needed:
        return Finding.ok(f"{settings.max_connections} connections fit into the limit of file descriptors")
    fits = (most - _SPARE) // _PER_CONNECTION
    return Finding.hint(
        f"{settings.max_connections} connections need {needed} file descriptors, the limit is {most}",
        f"Raise it (ulimit -n, LimitNOFILE=), or set `relay.max_connections` to {fits}.",
    )


async def _proxy(node: Node) -> Finding:
    """Does the proxy answer its handshake?"""
    where = f"{node.upstream.host}:{node.upstream.port}"
    if node.via is not None:
        return Finding.hint(f"proxy {where} is reached through another one and was not dialed", "")
    try:
        async with asyncio.timeout(_PATIENCE):
            await _handshake(node.upstream)
    except TimeoutError:
        return Finding.fault(
            f"proxy {where} does not answer within {_PATIENCE:g} s",
            "Is it running, and does the firewall let us in?",
        )
    except (OSError, ParseError, SourceError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Finding.fault(f"proxy {where}: {reason}", _advice(error))
    return Finding.ok(f"proxy {where} answers")


async def _handshake(upstream: Upstream) -> None:
    context = ssl.create_default_context() if upstream.scheme == "https" else None
    reader, writer = await asyncio.open_connection(upstream.host, upstream.port, ssl=context)
    try:
        if upstream.scheme != "socks5":
            return
        writer.write(socks.hello(login=bool(upstream.username)))
        chosen = socks.choice(await reader.readexactly(2))
        if chosen is None or chosen[0] == socks.NOTHING_SUITS:
            raise SourceError("it accepts none of our ways to log in")
    except asyncio.IncompleteReadError:
        raise SourceError("it closed the connection during the SOCKS handshake") from None
    finally:
        writer.close()


def _advice(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "Nothing listens there: start the proxy, or correct the node's `url`."
    if isinstance(error, SourceError):
        return "Set the node's `username` and `password_file`, or correct its `url`."
    return "Correct the node's `url`."


async def _sidecar(node: Node, fetch: SidecarFetch) -> list[Finding]:
    if not node.sidecar:
        return []
    try:
        reading = read_exposition(await fetch(node))
    except ProxywatchError as error:
        return [Finding.fault(str(error), "Correct the node's `sidecar`, or the exporter's `http.listen`.")]
    return [_facts(reading), _exit(node, reading)]


def _facts(reading: Reading) -> Finding:
    known = ", ".join(f"{name} {_short(value)}" for name, value in sorted(reading.values.items()))
    if "proxy_latency_ms" not in reading.values:
        return Finding.hint(
            f"sidecar answers, without a latency ({known or 'no facts'})", "Is its latency collector on?"
        )
    return Finding.ok(f"sidecar answers: {known}")


def _exit(node: Node, reading: Reading) -> Finding:
    if reading.values.get("not_direct") is False:
        return Finding.fault(
            "its traffic leaves without the tunnel", "Check the proxy's `external:` and routes."
        )
    seen = country_code(str(reading.exits.get("exit_country", "")))
    if not seen:
        return Finding.hint("its exit was not seen yet", "Is the exporter's exit collector on?")
    if seen != node.country:
        return Finding.fault(
            f"its exit is in {seen}, not in {node.country}",
            "Correct the node's `country`, or its VPN server.",
        )
    return Finding.ok(f"its exit is in {seen}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
