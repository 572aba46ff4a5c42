"""The whole forwarder on the loopback, asked by real clients: dig, kdig, curl."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any

import dns.message
import dns.rcode
import pytest

from proxywatch.clock import SystemClock
from proxywatch.dns.forwarder import Forwarder
from proxywatch.dns.settings import Network, Settings, UpstreamUrl, Via
from proxywatch.errors import ConfigError
from proxywatch.quantity import Address, Duration
from support.dns_messages import query
from support.dns_pki import Pki, make_pki
from support.dns_socks import socks
from support.dns_upstreams import FakeUpstream, Message, answer, fake_upstream

needs = {name: pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")
         for name in ("dig", "kdig", "curl", "dnsdist", "unbound")}  # fmt: skip
LOOPBACK = Address("127.0.0.1:0")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@asynccontextmanager
async def forwarder(
    *urls: str, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[Forwarder]:
    """One with these resolvers."""
    given: dict[str, Any] = {
        "listen": (LOOPBACK,),
        "via": Via("direct"),
        "timeout": Duration(2),
        "deadline": Duration(4),
    } | settings
    made = Settings(upstream=tuple(map(UpstreamUrl.parse, urls)), **given)
    async with Forwarder(made, SystemClock(), SystemRandom(), tls=tls) as running:
        yield running
    counts = running.resolver.counts
    assert counts.queries == counts.hits + counts.misses + counts.uncacheable
    assert running.tcp.connections == 0


def port_of(running: Forwarder) -> int:
    assert running.udp.addresses == running.tcp.addresses
    return running.udp.addresses[0][1]


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


async def dig(running: Forwarder, *words: str) -> str:
    return await run("dig", "@127.0.0.1", "-p", str(port_of(running)), "+tries=1", *words)


def big(request: Message) -> list[bytes]:
    """3 kB of text; truncated by UDP."""
    text = " ".join(f'"{"x" * 250}"' for _ in range(12))
    return [answer(request, f"{request.question[0].name} 60 IN TXT {text}").to_wire(max_size=65535)]


def cut(request: Message) -> list[bytes]:
    response = dns.message.make_response(request)
    response.flags |= 0x0200
    return [response.to_wire()]


@needs["dig"]
@pytest.mark.parametrize("warm", [True, False])
async def test_the_size_is_the_askers_also_from_the_cache(*, warm: bool) -> None:
    async with fake_upstream(FakeUpstream(udp=cut, tcp=big)) as upstream, forwarder(upstream.url) as running:
        if warm:
            assert "rcvd: 3" in await dig(running, "big.test", "TXT", "+tcp")
        for words, least, most, truncated in (
            (["+noedns", "+ignore"], 12, 512, True),
            (["+bufsize=512", "+ignore"], 12, 512, True),
            (["+bufsize=1232", "+ignore"], 12, 1232, True),
            (["+bufsize=65000", "+ignore"], 12, 1232, True),
            (["+tcp"], 3000, 3100, False),
            ([], 3000, 3100, False),
        ):
            told = await dig(running, "big.test", "TXT", *words)
            size = int(told.rpartition("rcvd: ")[2].split()[0])
            assert least <= size <= most, words
            assert (" tc" in told.partition("flags:")[2].partition(";")[0]) == truncated, words
        assert len([1 for transport, _ in upstream.asked if transport == "tcp"]) == 1


@needs["kdig"]
async def test_kdig_by_udp_and_by_kept_tcp() -> None:
    async with fake_upstream(FakeUpstream()) as upstream, forwarder(upstream.url) as running:
        where = ["@127.0.0.1", "-p", str(port_of(running))]
        assert "192.0.2.1" in await run("kdig", *where, "+edns", "+dnssec", "a.test")
        told = await run("kdig", *where, "+tcp", "+keepopen", "a.test", "b.test", "c.test")
        assert told.count("192.0.2.1") == 3


async def test_dead_upstreams_are_servfail_in_time() -> None:
    silent = FakeUpstream(udp=lambda _: [])
    short = {"timeout": Duration(0.1), "deadline": Duration(0.3)}
    async with fake_upstream(silent), forwarder(silent.url, tls=None, **short) as running:
        began = asyncio.get_running_loop().time()
        assert "SERVFAIL" in await dig(running, "a.test")
        assert asyncio.get_running_loop().time() - began < 4


async def exchange(running: Forwarder, *wires: bytes) -> list[Message]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running))
    writer.write(b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires))
    replies = []
    for _ in wires:
        size = int.from_bytes(await reader.readexactly(2), "big")
        replies.append(dns.message.from_wire(await reader.readexactly(size)))
    writer.close()
    await writer.wait_closed()
    return replies


async def test_a_slow_query_by_tcp_holds_up_no_other() -> None:
    async with fake_upstream(FakeUpstream(delay=0.2)) as upstream, forwarder(upstream.url) as running:
        await exchange(running, query("kept.test"))
        replies = await exchange(running, query("slow.test", ident=1), query("kept.test", ident=2))
        assert [reply.id for reply in replies] == [2, 1]


async def test_a_client_that_ends_its_half_still_gets_its_replies() -> None:
    async with fake_upstream(FakeUpstream(delay=0.05)) as upstream, forwarder(upstream.url) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running))
        wire = query()
        writer.write(len(wire).to_bytes(2, "big") + wire)
        writer.write_eof()
        assert dns.message.from_wire((await reader.read())[2:]).answer
        writer.close()


@pytest.mark.parametrize("sent", [b"\0\5hello", b"\xff\xff" + b"a" * 99, b"\0\0"])
async def test_what_is_no_query_by_tcp_ends_the_connection(sent: bytes) -> None:
    async with forwarder("udp://127.0.0.1:9") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running))
        writer.write(sent)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(1)
        writer.close()


async def test_connections_are_bounded() -> None:
    async with forwarder("udp://127.0.0.1:9", connections=3) as running:
        pairs = [await asyncio.open_connection("127.0.0.1", port_of(running)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert (running.tcp.connections, running.tcp.refused) == (3, 2)
        for _, writer in pairs:
            writer.close()


async def test_connections_of_one_client_are_bounded() -> None:
    async with forwarder("udp://127.0.0.1:9", connections=60) as running:
        pairs = [await asyncio.open_connection("127.0.0.1", port_of(running)) for _ in range(15)]
        await asyncio.sleep(0.05)
        assert (running.tcp.connections, running.tcp.refused) == (12, 3)
        for _, writer in pairs:
            writer.close()


async def test_a_storm_of_anything_is_survived() -> None:
    dice = SystemRandom()
    async with fake_upstream(FakeUpstream()) as upstream, forwarder(upstream.url) as running:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(2000):
                wire = bytearray(query(edns=1232))
                wire[dice.randrange(len(wire))] = dice.randrange(256)
                sender.sendto(wire[: dice.randrange(len(wire) + 1)], ("127.0.0.1", port_of(running)))
        await asyncio.sleep(0.2)
        assert "192.0.2.1" in await dig(running, "a.test")


async def test_on_every_address_a_reply_comes_from_the_one_that_was_asked() -> None:
    settings: dict[str, Any] = {"listen": (Address("0.0.0.0:0"), Address("[::]:0"))}
    async with fake_upstream(FakeUpstream()) as upstream, forwarder(upstream.url, **settings) as running:
        (_, port4), (_, port6) = running.udp.addresses
        for family, address in ((socket.AF_INET, ("127.0.0.7", port4)), (socket.AF_INET6, ("::1", port6))):
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(0)
                client.connect(address)
                client.send(query())
                async with asyncio.timeout(2):
                    wire = await asyncio.get_running_loop().sock_recv(client, 4096)
                assert dns.message.from_wire(wire).answer


async def test_an_address_that_is_taken_is_a_fault_of_the_settings() -> None:
    async with forwarder("udp://127.0.0.1:9") as running:
        taken = (LOOPBACK, Address(f"127.0.0.1:{port_of(running)}"))
        with pytest.raises(ConfigError, match="cannot listen"):
            async with forwarder("udp://127.0.0.1:9", listen=taken):
                pass


async def test_the_end_does_not_wait_for_upstreams() -> None:
    silent = FakeUpstream(udp=lambda _: [])
    async with fake_upstream(silent):
        async with forwarder(silent.url, timeout=Duration(60), deadline=Duration(60)) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running))
            wire = query()
            writer.write(len(wire).to_bytes(2, "big") + wire)
            await asyncio.sleep(0.1)
            assert running.resolver.flights == 1
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 5
        with pytest.raises((asyncio.IncompleteReadError, OSError)):
            await reader.readexactly(2)
        writer.close()


@needs["dig"]
async def test_a_block_list_is_read_at_the_start(tmp_path: Path) -> None:
    block = tmp_path / "block"
    block.write_text("# ads\n0.0.0.0 ads.test\n")
    async with (
        fake_upstream(FakeUpstream()) as upstream,
        forwarder(upstream.url, block=str(block)) as running,
    ):
        told = await dig(running, "a.ads.test", "+edns")
        assert "NXDOMAIN" in told
        assert "EDE: 15 (Blocked)" in told
        assert "192.0.2.1" in await dig(running, "a.test")
    with pytest.raises(ConfigError, match="cannot be read"):
        async with forwarder("udp://127.0.0.1:9", block=str(tmp_path / "none")):
            pass


@needs["curl"]
@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_curl_asks_over_https(pki: Pki, tmp_path: Path, verb: str) -> None:
    async with (
        fake_upstream(FakeUpstream()) as upstream,
        forwarder(upstream.url, tls=pki.server("http/1.1"), doh=(LOOPBACK,)) as running,
    ):
        url = f"https://127.0.0.1:{running.doh.addresses[0][1]}/dns-query"
        wire = query()
        (tmp_path / "query").write_bytes(wire)
        post = ["--data-binary", f"@{tmp_path / 'query'}", "-H", "content-type: application/dns-message"]
        get = ["-G", "-d", f"dns={_base64(wire)}"]
        told = await run("curl", "-sS", "-o", str(tmp_path / "reply"), "--cacert", str(pki.certificate), "-w",
                             "%{http_code} %{content_type} %header{cache-control}", url,
                             *(post if verb == "POST" else get))  # fmt: skip
        assert told == "200 application/dns-message max-age=60"
        assert dns.message.from_wire((tmp_path / "reply").read_bytes()).answer


def _base64(wire: bytes) -> str:
    from base64 import urlsafe_b64encode  # noqa: PLC0415

    return urlsafe_b64encode(wire).rstrip(b"=").decode()


@needs["curl"]
async def test_curl_resolves_by_it(pki: Pki) -> None:
    """`curl --doh-url` finds 127.0.0.1 for the name and gets to our own port there."""

    def here(request: Message) -> list[bytes]:
        if request.question[0].rdtype != 1:
            return [answer(request, authority="test. 60 IN SOA a. b. 1 2 3 4 5").to_wire()]
        return [answer(request, f"{request.question[0].name} 60 IN A 127.0.0.1").to_wire()]

    async with (
        fake_upstream(FakeUpstream(udp=here)) as upstream,
        forwarder(upstream.url, tls=pki.server("http/1.1"), doh=(LOOPBACK,)) as running,
    ):
        port = running.doh.addresses[0][1]
        told = await run("curl", "-sS", "--cacert", str(pki.certificate), "--doh-url",
                             f"https://127.0.0.1:{port}/dns-query", f"https://dns.test:{port}/")  # fmt: skip
        assert told == "DNS is at /dns-query\n"
        assert "dns.test." in upstream.names()


async def test_through_a_proxy_every_query_goes_by_tcp_and_the_proxy_resolves(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    async with fake_upstream(FakeUpstream()) as upstream, socks(password="secret") as (port, wanted):
        way: dict[str, Any] = {
            "via": Via.parse(f"socks5h://u@127.0.0.1:{port}"),
            "via_password_file": str(tmp_path / "password"),
        }
        async with forwarder(f"udp://dns.test:{upstream.port}", upstream.url, **way) as running:
            for name in ("a.test", "b.test"):
                assert (await exchange(running, query(name)))[0].answer
    assert wanted == [f"dns.test:{upstream.port}"]
    assert [transport for transport, _ in upstream.asked] == ["tcp", "tcp"]


@pytest.mark.parametrize("reply", [1, 4, 5, None])
async def test_nothing_goes_direct_when_the_proxy_fails(reply: int | None) -> None:
    async with fake_upstream(FakeUpstream()) as upstream, socks(reply=reply or 0) as (port, _):
        via = Via.parse(f"socks5h://127.0.0.1:{port if reply else 1}")
        async with forwarder(upstream.url, via=via) as running:
            assert (await exchange(running, query()))[0].rcode() == dns.rcode.SERVFAIL
    assert not upstream.asked


async def test_a_node_needs_a_balancer() -> None:
    with pytest.raises(ValueError, match="needs a balancer"):
        async with forwarder("udp://127.0.0.1:9", via=Via("node:se-1")):
            pass


@needs["dnsdist"]
async def test_dnsdist_over_http2_and_tls(pki: Pki, tmp_path: Path) -> None:
    ports = []
    for _ in range(3):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    async with fake_upstream(FakeUpstream()) as upstream:
        (tmp_path / "dnsdist.conf").write_text(
            f'setLocal("127.0.0.1:{ports[0]}")\nsetSecurityPollSuffix("")\n'
            f'newServer{{address="127.0.0.1:{upstream.port}", checkName="a.test."}}\n'
            f'addDOHLocal("127.0.0.1:{ports[1]}", "{pki.certificate}", "{pki.key}", "/dns-query")\n'
            f'addTLSLocal("127.0.0.1:{ports[2]}", "{pki.certificate}", "{pki.key}")\n'
        )
        process = await asyncio.create_subprocess_exec(
            "dnsdist", "--supervised", "--disable-syslog", "-C", str(tmp_path / "dnsdist.conf"),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await _answers(ports[1])
            for url in (f"https://127.0.0.1:{ports[1]}/dns-query", f"tls://127.0.0.1:{ports[2]}"):
                slow: dict[str, Any] = {
                    "timeout": Duration(3),
                    "deadline": Duration(4),
                    "ca_file": str(pki.certificate),
                }
                async with forwarder(url, **slow) as running:
                    replies = await exchange(running, *(query(f"n{number}.test") for number in range(10)))
                    assert all(reply.answer for reply in replies)
                    assert running.pool.rows(0)[0][2:] == (10, 0, 0)
        finally:
            process.kill()
            await process.wait()


async def _answers(port: int) -> None:
    for _ in range(100):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def test_clients_beyond_the_loopback_need_a_network() -> None:
    async with (
        fake_upstream(FakeUpstream()) as upstream,
        forwarder(upstream.url, allow=(Network("10.0.0.0/8"),)) as running,
    ):
        refused = await running.resolver.answer(query(), "udp", "192.168.0.1")
        assert dns.message.from_wire(refused.wire).rcode() == dns.rcode.REFUSED
        allowed = await running.resolver.answer(query(), "udp", "10.9.9.9")
        assert dns.message.from_wire(allowed.wire).answer
