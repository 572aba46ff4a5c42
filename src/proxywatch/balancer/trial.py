"""One try of everything that is measured through nodes, for `proxywatch balancer check`."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from math import ceil
from statistics import median

from proxywatch.balancer.choosing.settings import Exit
from proxywatch.balancer.facts import goodput, probe, speed
from proxywatch.balancer.facts.budget import DAY
from proxywatch.balancer.facts.exits import ExitState, identities, requests, sighted
from proxywatch.balancer.facts.loopback import reaches_loopback
from proxywatch.balancer.facts.through import Reply, Through
from proxywatch.balancer.node import Node, Upstream
from proxywatch.finding import Finding
from proxywatch.probe.request import Request

_AT_ONCE = 8
_LIMIT = 64 << 10
_MOST = 20  # nodes that are tried; the others would say the same


@dataclass(frozen=True, slots=True)
class Sections:
    """The settings that say what is measured."""

    probe: probe.Settings
    speed: speed.Settings
    exit: Exit


async def through(nodes: Sequence[Node], sections: Sections) -> list[tuple[str, Finding]]:
    """What probes and looks at the exit show of nodes without a sidecar, with the node's id."""
    upstreams: Mapping[str, Upstream] = {node.id: node.upstream for node in nodes}
    blind = [node for node in nodes if not node.sidecar]
    slots = asyncio.Semaphore(_AT_ONCE)
    async with aclosing(Through(upstreams.get)) as asks:

        async def look(node: Node) -> list[tuple[str, Finding]]:
            async with slots:
                found = await _probe(asks, node, sections)
                found += await _loopback(asks, node)
                if all(finding.level != "fault" for finding in found):
                    found += await _exit(asks, node, sections)
            return [(node.id, finding) for finding in found]

        found = await asyncio.gather(*map(look, blind[:_MOST]))
    more = [("probe", Finding.hint(f"{len(blind) - _MOST} more nodes without a sidecar were not tried", ""))]
    return [each for findings in found for each in findings] + (more if len(blind) > _MOST else [])


def budget(nodes: int, settings: speed.Settings) -> Iterator[Finding]:
    """Does the budget last for the schedule?"""
    if not settings.enabled or not nodes:
        return
    cost = settings.bytes + speed.SLACK
    interval = goodput.interval_within(settings.interval, nodes, cost, settings.budget, DAY)
    if interval > settings.interval:
        hours = interval / 3600
        needed = nodes * cost * DAY / settings.interval / 0.8
        yield Finding.hint(
            f"the budget allows a speed test of each of {nodes} nodes every {hours:.1f} h",
            f"For the interval that is set, `speed.budget` would have to be {ceil(needed / 1e6)}MB.",
        )
    else:
        yield Finding.ok(f"speed tests of {nodes} nodes fit into their budget")


async def _probe(asks: Through, node: Node, sections: Sections) -> list[Finding]:
    settings = sections.probe
    if not settings.enabled:
        return []
    wanted = [Request("latency", url, settings.timeout, _LIMIT) for url in settings.targets]
    replies = await asyncio.gather(*(asks.ask(node, request) for request in wanted))
    good = [reply for reply in replies if reply.ok]
    if not good:
        return [Finding.fault(f"no target is reached through it: {replies[0].reason}", _mend(replies))]
    latency = 1000 * median(reply.seconds for reply in good)
    text = f"{len(good)} of {len(replies)} targets answer through it, in {latency:.0f} ms"
    if len(good) < len(replies):
        return [
            Finding.hint(text, "Name other targets in `probe.targets`, where these fail through every node.")
        ]
    return [Finding.ok(text)]


async def _loopback(asks: Through, node: Node) -> list[Finding]:
    if not await reaches_loopback(asks, node):
        return []
    text = "it connects clients to its own loopback by name"
    return [
        Finding.hint(
            text, "Block 127.0.0.0/8 and ::1 in its own rules: `socks block { ... }` in danted.conf."
        )
    ]


async def _exit(asks: Through, node: Node, sections: Sections) -> list[Finding]:
    settings = sections.exit
    if not settings.urls or settings.verify == "off":
        return []
    replies = await asyncio.gather(*(asks.ask(node, request) for request in requests(settings)))
    return [_seen(node, sighted(identities(replies)))]


def _seen(node: Node, state: ExitState) -> Finding:
    countries = sorted({it for it in (state.country, state.country_ipv6) if it})
    if not countries:
        return Finding.hint(
            f"its exit was not seen: {state.fault or 'no service answers through it'}",
            "Name other services in `exit.urls`, or give the node a sidecar.",
        )
    if countries != [node.country]:
        return Finding.fault(
            f"its exit is in {' and '.join(countries)}, not in {node.country}",
            "Correct the node's `country`, or its VPN server.",
        )
    return Finding.ok(f"its exit {state.ip} is in {node.country}")


def _mend(replies: Sequence[Reply]) -> str:
    if replies[0].ours:
        return "Look at the proxy through which it is reached, and at this machine."
    return "Look at its tunnel; where all nodes fail, at `probe.targets` and our own uplink."
