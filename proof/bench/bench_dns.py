"""How many DNS queries a second from a cache, and how late, beside unbound and dnsdist: one run, in turns.

    python bench/bench_dns.py [SECONDS] [ROUNDS]

Needs dnsperf and unbound; dnsdist where it is to be compared. All of them forward to the same unbound, which
answers every name. Names are drawn from a Zipf distribution. Each server gets a turn per round: as many
queries as it takes, then 5,000 a second for the 99th percentile. The medians of the rounds are printed, with
our ratio to them. Rates are also given per second of the server's processor time, since one core of the
machine is dnsperf's. Then the cache's hit rate, from cold.
"""

import contextlib
import itertools
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import dns.rrset
import psutil
from serving import free_port

from proxywatch.dns import message, reply
from proxywatch.dns.cache import Entry, Terms

NAMES, QUERIES, RATE = 10_000, 200_000, 5_000
FORWARDER = """
import asyncio, random, sys, uvloop
from proxywatch.dns.forwarder import Forwarder
from proxywatch.dns.settings import Settings, UpstreamUrl, Via
from proxywatch.quantity import Address
from proxywatch.clock import SystemClock
async def main():
    settings = Settings(listen=(Address(f"127.0.0.1:{sys.argv[1]}"),), via=Via("direct"),
                        upstream=(UpstreamUrl.parse(f"127.0.0.1:{sys.argv[2]}"),))
    async with Forwarder(settings, SystemClock(), random.SystemRandom()) as forwarder:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, sys.stdin.read)
        counts = forwarder.resolver.counts
        print(counts.queries, counts.hits, counts.misses, counts.uncacheable, forwarder.resolver.cache.held)
uvloop.run(main())
"""
UNBOUND = """
server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  num-threads: 1
  username: ""
  chroot: ""
  pidfile: ""
  directory: "{folder}"
  use-syslog: no
  do-daemonize: no
  module-config: "iterator"
  msg-cache-size: 64m
  rrset-cache-size: 64m
  {extra}
"""
ANSWERS = 'local-zone: "test." redirect\n  local-data: "test. 3600 IN A 192.0.2.1"'
DNSDIST = """
setLocal("127.0.0.1:{port}")
setSecurityPollSuffix("")
newServer{{address="127.0.0.1:{upstream}", checkName="a.test."}}
getPool(""):setCache(newPacketCache(100000))
"""


@dataclass
class Server:
    """A server under test, and what was measured of it."""

    port: int
    process: psutil.Process
    rates: list[float] = field(default_factory=list)
    per_cpu: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)


def zipf(file: Path) -> int:
    """Write queries for names whose frequency falls with their rank; gives how many names there are."""
    dice = random.Random(1)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, NAMES + 1)))
    drawn = dice.choices(range(NAMES), cum_weights=weights, k=QUERIES)
    file.write_text("".join(f"host-{name}.example.test A\n" for name in drawn))
    return len(set(drawn))


def dnsperf(port: int, file: Path, *words: str) -> str:
    """What dnsperf tells."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file), "-c", "4", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def rate(told: str) -> float:
    """Queries a second."""
    lost = re.search(r"Queries lost:\s+(\d+)", told)
    found = re.search(r"Queries per second:\s+([\d.]+)", told)
    assert lost, told
    assert found, told
    if int(lost[1]):
        print("  ! lost:", lost[1])
    return float(found[1])


def tail(told: str) -> float:
    """The 99th percentile in milliseconds."""
    times = [float(line.rsplit(maxsplit=1)[1]) for line in told.splitlines() if line.startswith("> NOERROR")]
    return statistics.quantiles(times, n=100)[98] * 1000


@contextlib.contextmanager
def process(command: list[str], port: int) -> Iterator[subprocess.Popen[str]]:
    """A server, once it answers."""
    with tempfile.TemporaryFile() as log:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        running = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.settimeout(0.1)
                query = b"\0\1\1\0\0\1\0\0\0\0\0\0\1a\4test\0\0\1\0\1"
                for _ in range(100):
                    with contextlib.suppress(OSError):
                        probe.sendto(query, ("127.0.0.1", port))
                        probe.recv(512)
                        break
                    time.sleep(0.05)
            yield running
        finally:
            running.kill()
            running.wait()


def forwarder(port: int, upstream: int) -> "contextlib.AbstractContextManager[subprocess.Popen[str]]":
    """Ours."""
    return process([sys.executable, "-c", FORWARDER, str(port), str(upstream)], port)


def turn(server: Server, file: Path, seconds: int) -> None:
    """Measure one server once."""
    before = sum(server.process.cpu_times()[:2])
    told = dnsperf(server.port, file, "-l", str(seconds), "-q", "100")
    used = sum(server.process.cpu_times()[:2]) - before
    server.rates.append(rate(told))
    server.per_cpu.append(rate(told) * seconds / used)
    server.tails.append(tail(dnsperf(server.port, file, "-l", str(seconds), "-Q", str(RATE), "-v")))


def main(seconds: int, rounds: int) -> None:
    """Compare."""
    parsers()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        distinct = zipf(folder / "queries")
        upstream = free_port()
        (folder / "upstream").write_text(UNBOUND.format(port=upstream, folder=folder, extra=ANSWERS))
        stack.enter_context(process(["unbound", "-d", "-c", str(folder / "upstream")], upstream))

        servers: dict[str, Server] = {}

        def add(name: str, port: int, command: list[str]) -> None:
            running = stack.enter_context(process(command, port))
            servers[name] = Server(port, psutil.Process(running.pid))

        port = free_port()
        add("proxywatch", port, [sys.executable, "-c", FORWARDER, str(port), str(upstream)])
        port = free_port()
        extra = (
            f'local-zone: "test." nodefault\nforward-zone:\n  name: "."\n  forward-addr: 127.0.0.1@{upstream}'
        )
        (folder / "unbound").write_text(UNBOUND.format(port=port, folder=folder, extra=extra))
        add("unbound", port, ["unbound", "-d", "-c", str(folder / "unbound")])
        if shutil.which("dnsdist"):
            port = free_port()
            (folder / "dnsdist").write_text(DNSDIST.format(port=port, upstream=upstream))
            add(
                "dnsdist",
                port,
                ["dnsdist", "--supervised", "--disable-syslog", "-C", str(folder / "dnsdist")],
            )
        for server in servers.values():
            dnsperf(server.port, folder / "queries", "-n", "1")
        for _ in range(rounds):
            for server in servers.values():
                turn(server, folder / "queries", seconds)
        show(servers)

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        zipf(folder / "queries")
        upstream, port = free_port(), free_port()
        (folder / "upstream").write_text(UNBOUND.format(port=upstream, folder=folder, extra=ANSWERS))
        stack.enter_context(process(["unbound", "-d", "-c", str(folder / "upstream")], upstream))
        running = stack.enter_context(forwarder(port, upstream))
        dnsperf(port, folder / "queries", "-n", "1", "-q", "20")
        queries, hits, misses, uncacheable, held = map(int, running.communicate()[0].split())
        assert hits + misses + uncacheable == queries
        print(f"from cold: {queries:,} queries for {distinct:,} of {NAMES:,} names (Zipf, exponent 1)")
        print(f"hit rate {hits / (hits + misses):.1%}, {held / distinct:,.0f} bytes held per answer")


def parsers() -> None:
    """The time of a cached answer, by our own reader of messages and by dnspython."""
    question = message.parse_query(dns.message.make_query("host-1.example.test", "A", use_edns=0).to_wire())
    query = dns.message.make_query("host-1.example.test", "A", use_edns=0)
    made = dns.message.make_response(query)
    made.answer.append(dns.rrset.from_text("host-1.example.test.", 3600, "IN", "A", "192.0.2.1"))
    wire, stored = query.to_wire(), made.to_wire()
    entry = Entry(question.question, message.parse_response(stored, question.question), Terms(), 0.0)

    def ours() -> bytes:
        asked = message.parse_query(wire)
        return reply.from_wire(asked, entry.fresh(0.5), entry.flags, entry.rcode)

    def theirs() -> bytes:
        asked = dns.message.from_wire(wire)
        answer = dns.message.make_response(asked)
        answer.answer = made.answer
        return answer.to_wire()

    count = 5000
    fast, slow = (min(timeit.repeat(each, number=count, repeat=5)) / count * 1e6 for each in (ours, theirs))
    print(
        f"a cached answer: {fast:.1f} us by our own reader, {slow:.0f} us by dnspython ({slow / fast:.0f} x)"
    )


def show(servers: dict[str, Server]) -> None:
    """Print the table."""
    ours = statistics.median(servers["proxywatch"].rates)
    print(f"{'server':<12}{'q/s':>10}{'us / it':>9}{'q per CPU s':>13}{'p99 at ' + str(RATE) + '/s':>16}")
    for name, server in servers.items():
        found = statistics.median(server.rates)
        print(
            f"{name:<12}{found:>10,.0f}{ours / found:>9.2f}{statistics.median(server.per_cpu):>13,.0f}"
            f"{statistics.median(server.tails):>13.2f} ms"
        )


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    main(*(arguments + [3, 3][len(arguments) :]))
