"""What one connection to the metrics port holds, by what it has done: the constants of `web/held.py`.

    python proof/bench/bench_held.py [CONNECTIONS]

So many connections are brought into each state; the resident memory that they add is divided by their number,
and shown beside what the server charges them with: plain, TLS with a certificate of an elliptic curve, TLS
with one of RSA. The last column is whether the charge is at least what is held.
"""

import asyncio
import contextlib
import gc
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from report import table
from serving import raise_open_files

from proxywatch.clock import SystemClock
from proxywatch.net.limits import Limits
from proxywatch.quantity import Address
from proxywatch.web.guard import Guard
from proxywatch.web.message import HttpRequest, Response
from proxywatch.web.server import WebServer

_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
_BODY = os.urandom(60_000)
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Act = Callable[[Client], Awaitable[None]]


async def silent(_: Client) -> None:
    """Connect."""


async def unfinished(client: Client) -> None:
    """Send a head of 16 kB without its end."""
    client[1].write(_HEAD + b"a:bc\r\n" * 2700)


async def idle(client: Client) -> None:
    """Ask once, and read the answer."""
    client[1].write(_HEAD + b"\r\n")
    await client[0].readexactly(100)


async def waiting(client: Client) -> None:
    """Ask with a hundred headers for what takes its time."""
    client[1].write(
        b"GET /slow HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"%02d:%0150d\r\n" % (n, n) for n in range(99))
        + b"\r\n"
    )


def hello(client: ssl.SSLContext) -> bytes:
    """The first message of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def resident() -> int:
    """Of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def answer(request: HttpRequest) -> "Response | Awaitable[Response]":
    """At once, or never."""
    return (
        asyncio.get_running_loop().create_future() if request.path == "/slow" else Response.make(200, "ok\n")
    )


async def held(count: int, tls: "tuple[ssl.SSLContext, frozenset[str]] | None", commands: list[str]) -> None:
    """Print the bytes of each of so many connections, and what they are charged with."""
    async with WebServer("held", answer, Limits(memory=1 << 40), SystemClock()) as server:
        server.tls = tls
        await server.listen([Address.parse("127.0.0.1:0")])
        await asyncio.sleep(0.2)
        gc.collect()
        before = resident()
        clients = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "clients",
            server.addresses[0],
            str(count),
            *commands,
            stdout=subprocess.PIPE,
        )
        assert clients.stdout is not None
        await clients.stdout.readline()
        while server.connections < count or server.turns.busy:  # noqa: ASYNC110 - which has no event
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        found = (resident() - before) / count, server.budget.held / count
        clients.kill()
        await clients.wait()
        print(*found, flush=True)
        os._exit(0)  # nothing is to be ended in order here


async def act(address: str, count: int, kind: str, name: str) -> None:
    """Be the clients."""
    host, _, port = address.rpartition(":")
    context = None
    if kind != "plain":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    greeting = hello(context) if context else b""
    kept = []
    for _ in range(count):
        if name == "greeted":
            client = await asyncio.open_connection(host, int(port))
            client[1].write(greeting)
        elif name == "connected":
            client = await asyncio.open_connection(host, int(port))
        else:
            client = await asyncio.open_connection(host, int(port), ssl=context)
            await globals()[name](client)
        kept.append(client)
    print("ready", flush=True)
    await asyncio.sleep(60)


def certificate(folder: Path, key: list[str]) -> "tuple[ssl.SSLContext, frozenset[str]]":
    """A context of the server, as the web configuration file makes it."""
    command = ["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-days", "9", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-keyout", "k.pem", "-out", "c.pem"], cwd=folder, check=True, capture_output=True
    )
    (folder / "web.yml").write_text("tls_server_config: {cert_file: c.pem, key_file: k.pem}")
    context = Guard(str(folder / "web.yml"), SystemClock().monotonic).terms.context
    assert context is not None
    return context, frozenset()


def main(count: int) -> None:
    """One process for each row, as memory that was freed would be used again."""
    rows = []
    for kind, states in (
        ("plain", ("connected", "unfinished", "idle", "waiting")),
        ("TLS, P-256", ("connected", "greeted", "silent", "unfinished", "idle", "waiting")),
        ("TLS, RSA 2048", ("greeted", "idle")),
    ):
        for state in states:
            done = subprocess.run(
                [sys.executable, __file__, "row", str(count), kind, state],
                capture_output=True,
                text=True,
                check=True,
            )
            took, charged = map(float, done.stdout.split())
            rows.append((kind, state, f"{took:,.0f}", f"{charged:,.0f}", "yes" if charged >= took else "NO"))
    print(table(("connection", "state", "held, bytes", "charged, bytes", "enough"), rows))


if __name__ == "__main__":
    raise_open_files()
    if sys.argv[1:2] == ["clients"]:
        uvloop.run(act(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]))
    elif sys.argv[1:2] == ["row"]:
        number, sort, what = int(sys.argv[2]), sys.argv[3], sys.argv[4]
        with tempfile.TemporaryDirectory() as work:
            keys = ["rsa:2048"] if "RSA" in sort else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
            chosen = None if sort == "plain" else certificate(Path(work), keys)
            uvloop.run(held(number, chosen, [sort, what]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
