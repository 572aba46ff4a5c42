"""Dante with a resolv.conf that points at the forwarder, and a client; test_dante.py gives it namespaces.

Prints what the client got, the names that the upstream was asked for, and the forwarder's counts.
"""

import asyncio
import sys
from pathlib import Path
from random import SystemRandom

import uvloop

from proxywatch.clock import SystemClock
from proxywatch.dns.forwarder import Forwarder
from proxywatch.dns.settings import Settings, UpstreamUrl, Via
from support.dns_upstreams import FakeUpstream, Message, answer, fake_upstream

DANTE = """
logoutput: stderr
internal: 127.0.0.1 port = 1080
external: 127.0.0.1
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: root
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 }}
"""


def here(query: Message) -> list[bytes]:
    """127.0.0.1 for every name."""
    if query.question[0].rdtype != 1:
        return [answer(query, authority="test. 60 IN SOA a. b. 1 2 3 4 5").to_wire()]
    return [answer(query, f"{query.question[0].name} 60 IN A 127.0.0.1").to_wire()]


async def run(*command: str) -> str:
    """What a command prints."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()


async def main(folder: Path) -> None:
    """Everything on this loopback."""
    (folder / "danted.conf").write_text(DANTE.replace("{{", "{").replace("}}", "}"))
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    await run("ip", "link", "set", "lo", "up")
    await run("mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf")

    async def site(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nhello")
        writer.close()

    async with fake_upstream(FakeUpstream(udp=here)) as upstream:
        settings = Settings(upstream=(UpstreamUrl.parse(upstream.url),), via=Via("direct"))
        async with Forwarder(settings, SystemClock(), SystemRandom()) as forwarder:
            server = await asyncio.start_server(site, "127.0.0.1", 8080)
            danted = await asyncio.create_subprocess_exec("danted", "-f", str(folder / "danted.conf"))
            await asyncio.sleep(1)
            for name in ("one.test", "two.test", "one.test"):
                url = f"http://{name}:8080/"
                print(name, await run("curl", "-sS", "-m", "5", "-x", "socks5h://127.0.0.1:1080", url))
            danted.terminate()
            await danted.wait()
            server.close()
            print("upstream", *sorted(set(upstream.names())))
            print("hits", forwarder.resolver.counts.hits > 0, "failed", forwarder.resolver.counts.failed)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
