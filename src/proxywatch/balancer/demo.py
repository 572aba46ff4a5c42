"""Everything on one machine with no configuration: three proxies that differ, their exporters, the balancer, clients.

    se-1  near                       se-2  far away                    de-1  fails now and then

Once a minute something breaks for a while, so that the page has something to show: a tunnel dies behind a proxy that
lives on, a proxy goes away, a link gets slow. Clients go on meanwhile; they are what should not notice.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from proxywatch.balancer import daemon
from proxywatch.balancer.config import SCHEMA
from proxywatch.balancer.daemon import Listeners
from proxywatch.config import load
from proxywatch.parse import socks
from proxywatch.stage import target
from proxywatch.stage.front import Front
from proxywatch.stage.proxy import HOST, free_port, proxy

_RELAY, _API, _HEALTH, _SIDECAR = 1080, 8080, 9998, 9091
_EVERY, _LASTS = 60.0, 25.0
_EXPORTER = """\
proxy: {{name: {name}, url: "socks5h://{host}:{front}"}}
latency: {{interval: 5s, timeout: 4s, targets: ["http://{host}:{target}/get"]}}
speed: {{interval: 30s, url: "http://{host}:{target}/bytes/{{bytes}}"}}
exit: {{interval: 10s, urls: ["http://{host}:{target}/exit/{country}"], direct: false, leaks: false}}
sessions: {{log: "{directory}/danted.log", start: beginning}}
sockets: {{port: {socks}}}
interface: {{enabled: false}}
wireguard: {{enabled: false}}
http: {{listen: "{host}:{metrics}"}}
health: {{listen: "{host}:0"}}
log: {{level: error}}
"""
_BALANCER = """\
nodes:
{nodes}
relay:
  listen: "{host}:{relay}"
  deny: []  # the demo's target is on loopback, which clients may not reach otherwise
  drain: 2s
api: {{listen: "{host}:{api}"}}
health: {{listen: "{host}:{health}"}}
collect: {{interval: 5s}}
ejection: {{base: 10s}}
log: {{level: warning}}
"""


@dataclass(frozen=True, slots=True)
class Exit:
    """One proxy of the demo.

    Attributes:
        name: Of the node.
        country: Of its exit.
        about: What is special about it.
        delay: Seconds that each piece of data takes, each way.
        failing: Share of connections that fail, 0 to 1.
    """

    name: str
    country: str
    about: str
    delay: float
    failing: float = 0.0


EXITS = (
    Exit("se-1", "se", "is near", 0.005),
    Exit("se-2", "se", "is far away", 0.06),
    Exit("de-1", "de", "fails now and then", 0.02, 0.08),
)


@dataclass(frozen=True, slots=True)
class Node:
    """A running exit.

    Attributes:
        exit: What it is like.
        front: The address that clients of it use.
        metrics: Port of its exporter.
        real: Whether its proxy is a real Dante.
    """

    exit: Exit
    front: Front
    metrics: int
    real: bool


async def show() -> None:
    """The demo, until SIGINT or SIGTERM."""
    dice = random.Random()  # noqa: S311 - a demonstration
    async with stage(dice) as (nodes, web), asyncio.TaskGroup() as tasks:
        relay, api, health = free_port(_RELAY), free_port(_API), free_port(_HEALTH)
        text = settings(nodes, relay=relay, api=api, health=health)
        acts = [
            tasks.create_task(traffic(relay, web, dice), name="clients"),
            tasks.create_task(faults(nodes, dice), name="faults"),
        ]
        read = partial(load, text, {}, SCHEMA, "demo")
        await daemon.run(read, lambda listeners: click.echo(welcome(nodes, listeners, web)))
        for act in acts:
            act.cancel()


@asynccontextmanager
async def stage(dice: random.Random) -> AsyncIterator[tuple[list[Node], int]]:
    """The exits with their exporters, and the port of the target, until the block ends."""
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(target.serve, HOST, 0)
        await stack.enter_async_context(server)
        web = server.sockets[0].getsockname()[1]
        nodes = []
        for number, exit_ in enumerate(EXITS):
            directory = Path(stack.enter_context(TemporaryDirectory(prefix=f"proxywatch-{exit_.name}-")))
            nodes.append(
                await stack.enter_async_context(
                    _exit(exit_, directory, web, free_port(_SIDECAR + number), dice)
                )
            )
        yield nodes, web


def settings(nodes: Sequence[Node], *, relay: int, api: int, health: int) -> str:
    """The balancer's settings, as a file would hold them."""
    entries = [
        f'- {{id: {node.exit.name}, country: {node.exit.country}, url: "socks5h://{HOST}:{node.front.port}", '
        f'sidecar: "http://{HOST}:{node.metrics}"}}'
        for node in nodes
    ]
    return _BALANCER.format(host=HOST, nodes="\n".join(entries), relay=relay, api=api, health=health)


def welcome(nodes: Sequence[Node], listeners: Listeners, web: int) -> str:
    """What the demo prints when all of it runs."""
    relay, api = listeners.relay[0], listeners.api[0]
    kind = "real Dantes" if all(node.real for node in nodes) else "stand-ins, as Dante is not installed"
    return "\n".join(
        (
            f"balancer      http://{api}/  the page: nodes, scores, the last decisions",
            f"relay         socks5h://demo-country-se:any@{relay}  SOCKS and HTTP on one port",
            f"API           http://{api}/api/load-balancer/stats  and http://{api}/openapi.json",
            f"metrics       http://{api}/metrics",
            f"health        http://{listeners.health[0]}/readyz  ready while a node is usable",
            f"target        http://{HOST}:{web}/get  and /bytes/N, for clients",
            *(
                f"{node.exit.name:13} http://{HOST}:{node.metrics}/  its exporter; this proxy {node.exit.about}"
                for node in nodes
            ),
            "",
            f"The proxies are {kind}. Try it:",
            f"  curl -x socks5h://demo-country-se:any@{relay} http://{HOST}:{web}/get -i",
            "Once a minute something breaks for 25 seconds, on purpose. Ctrl-C ends all of it.",
        )
    )


async def faults(
    nodes: Sequence[Node], dice: random.Random, every: float = _EVERY, lasts: float = _LASTS
) -> None:
    """Once a minute one proxy breaks for a while; never ends by itself."""
    while True:
        await asyncio.sleep(every - lasts)
        front = dice.choice(nodes).front
        state, delay = front.state, front.delay
        match dice.choice(("dead", "gone", "slow")):
            case "dead":
                front.state = "dead"
            case "gone":
                front.state = "gone"
            case _:
                front.delay = 1.2
        await asyncio.sleep(lasts)
        front.state, front.delay = state, delay


async def traffic(relay: int, web: int, dice: random.Random) -> None:
    """A few clients at a time, some with sessions; never ends by itself."""
    limit = asyncio.Semaphore(30)
    async with asyncio.TaskGroup() as tasks:
        while True:
            await limit.acquire()
            user = dice.choice(("demo-country-se", "demo-country-de", "demo", _session(dice)))
            client = tasks.create_task(_client(relay, web, user, dice), name="client")
            client.add_done_callback(lambda _: limit.release())
            await asyncio.sleep(dice.expovariate(5))


def _session(dice: random.Random) -> str:
    return f"demo-country-se-session-{dice.randint(1, 9)}"


async def _client(relay: int, web: int, user: str, dice: random.Random) -> None:
    """One page of a random size through the relay."""
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(HOST, relay)
        try:
            writer.write(b"\x05\x01\x02")
            await reader.readexactly(2)
            writer.write(socks.login(user.encode(), b"any"))
            await reader.readexactly(2)
            writer.write(b"\x05\x01\x00\x01" + bytes((127, 0, 0, 1)) + web.to_bytes(2))
            reply = await reader.readexactly(10)
            if reply[1] == 0:
                await asyncio.sleep(dice.expovariate(0.5))
                size = min(int(dice.paretovariate(1) * 1000), 1_000_000)
                writer.write(b"GET /bytes/%d HTTP/1.1\r\nHost: demo\r\n\r\n" % size)
                while await reader.read(65536):
                    pass
        finally:
            writer.close()


@asynccontextmanager
async def _exit(
    exit_: Exit, directory: Path, web: int, metrics: int, dice: random.Random
) -> AsyncIterator[Node]:
    """A proxy with its front and its exporter."""
    async with AsyncExitStack() as stack:
        port = free_port(0)
        real = await stack.enter_async_context(proxy(directory, port))
        front = Front(free_port(0), port, exit_.delay, exit_.failing, dice)
        await stack.enter_async_context(front.serve())
        conf = directory / "proxywatch.yaml"
        conf.write_text(
            _EXPORTER.format(
                name=exit_.name, host=HOST, front=front.port, target=web, country=exit_.country,
                directory=directory, socks=port, metrics=metrics,
            )
        )  # fmt: skip
        await stack.enter_async_context(_exporter(conf))
        yield Node(exit_, front, metrics, real)


@asynccontextmanager
async def _exporter(conf: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxywatch", "run", "-c", str(conf), env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
