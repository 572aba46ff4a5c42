"""`proxywatch dns check`: asks every resolver, and says what is wrong and how to fix it."""

import asyncio
from random import SystemRandom

from proxywatch.clock import SystemClock
from proxywatch.config import Config
from proxywatch.dns.message import Question
from proxywatch.dns.settings import Settings, needs_no_balancer
from proxywatch.dns.upstream import assemble
from proxywatch.dns.upstream.base import Upstream, UpstreamError
from proxywatch.finding import Finding

_ROOT, _NS, _IN = b"\x00", 2, 1
_ADVICE = {
    "timeout": "Does a firewall drop it? Is its address right, and reachable by `dns.via`?",
    "refused": "Nothing listens there: correct its address or port.",
    "unreachable": "There is no route to it: correct its address, or `dns.via`.",
    "tls": "Give the name in its certificate behind `#`, or its authority as `dns.ca_file`.",
    "name": "Its name does not resolve: correct it, or `dns.bootstrap`.",
}


async def examine(config: Config, *, offline: bool) -> list[Finding]:
    """What was found.

    Args:
        config: The settings.
        offline: Whether to look at the settings only.

    Raises:
        ConfigError: `via` needs a balancer, which there is none of here.
    """
    settings = config[Settings]
    resolvers = f"{len(settings.upstream)} resolver{'s' if len(settings.upstream) > 1 else ''}"
    findings = [Finding.ok(f"settings are valid: {resolvers}, by way of {settings.via}")]
    if len(settings.upstream) == 1:
        findings.append(
            Finding.hint("one resolver only: nothing stands in when it fails", "Add a second one.")
        )
    needs_no_balancer(settings)
    if offline:
        return findings
    async with asyncio.TaskGroup() as group:
        pool = assemble.pool(settings, group, SystemClock(), SystemRandom())
        findings += [await _ask(upstream, float(settings.timeout)) for upstream in pool.upstreams]
        await pool.close()
    return findings


async def _ask(upstream: Upstream, patience: float) -> Finding:
    """Ask a resolver for what every one of them knows: the root's own servers."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        async with asyncio.timeout(patience):
            await upstream.ask(Question(_ROOT, _NS, _IN))
    except TimeoutError:
        return Finding.fault(f"{upstream.name} does not answer within {patience:g} s", _ADVICE["timeout"])
    except UpstreamError as error:
        return Finding.fault(f"{upstream.name}: {error}", _ADVICE.get(error.reason, "Is it a DNS resolver?"))
    return Finding.ok(f"{upstream.name} answers in {(loop.time() - start) * 1000:.0f} ms")
