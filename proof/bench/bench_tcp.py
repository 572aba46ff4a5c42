"""A flood of short connections: what the kernel's account of them misses, and costs for each.

    python proof/bench/bench_tcp.py [SECONDS]

A proxy (nginx, which dials anew for each request) has a network namespace of its own; clients (wrk, which
connects anew for each request) and destinations are in another one. The collector follows every connection on
both sides: with the buffer that it asks for, with what it makes of the limit of most machines where it has no
CAP_NET_ADMIN, and with one socket of that limit. How many connections there were is the kernel's own count.
Beside it `ss` is called every second, as scripts do, and the log that Dante writes of so many connections is
read. CPU is of the reader alone, for a connection from a client with the one to its destination.
"""

import asyncio
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop
from proxywatch.dante.account import DanteAccount

from proxywatch.clock import SystemClock
from proxywatch.dante.sessions import Sessions
from proxywatch.exporter.collector.tcp import Settings, TcpCollector
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.source import sock_diag
from testbed.namespace import Namespace

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "dante" / "main.log.gz"
PORT, TARGET = 1080, 8080
UNPRIVILEGED = 212_992  # net.core.rmem_max on most machines
BUFFERS = {"as asked": (), "no rights": (4 << 20, UNPRIVILEGED), "one socket": (UNPRIVILEGED,)}
_NGINX = """
worker_processes 1; daemon off; pid {place}/{name}.pid; error_log /dev/null; user root;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_timeout 0;
  client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
  uwsgi_temp_path {place}; scgi_temp_path {place};
  server {{ listen {listen}; location / {{ {answer} }} }} }}
"""


@dataclass
class Outcome:
    """What one flood came to.

    Attributes:
        buffer: Bytes that the kernel could hold.
        opened: Connections from clients by the kernel's own count.
        reported: Those that the collector counted as ended, on the clients' side and to destinations.
        missed: What it says that it missed.
        cpu: Its seconds of CPU.
        ss_cpu: Those of all calls of ss.
        ss_seen: Connections of clients that any of these showed.
    """

    buffer: int
    opened: int
    reported: tuple[int, int]
    missed: dict[str, int]
    cpu: float
    ss_cpu: float
    ss_seen: int


def call_ss(seconds: float) -> None:
    """Call it every second, as scripts do; print its seconds of CPU, and how many connections it showed."""
    ss = shutil.which("ss") or "ss"
    cpu, seen = 0.0, set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with tempfile.TemporaryFile("w+") as output:
            to_file = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1)]
            pid = os.posix_spawn(ss, [ss, "-tinH"], os.environ, file_actions=to_file)
            usage = os.wait4(pid, 0)[2]
            output.seek(0)
            seen |= set(re.findall(rf"\S+:{PORT} +(\S+:\d+)", output.read()))
        cpu += usage.ru_utime + usage.ru_stime
        time.sleep(1)
    print(cpu, len(seen))


@contextmanager
def bed() -> Iterator[tuple[Namespace, Namespace]]:
    """The proxy's side and the others'."""
    with closing(Namespace("proxy", {})) as inside, closing(Namespace("outside", {})) as outside:
        wire = f"ip link add wire netns {inside.pid} type veth peer name wire netns {outside.pid}"
        subprocess.run(wire.split(), check=True)
        for side, number in ((inside, 2), (outside, 1)):
            side.exec(*f"ip address add 10.77.0.{number}/16 dev wire".split())
            side.exec("ip", "link", "set", "wire", "up")
            side.exec("sysctl", "-qw", "net.ipv4.ip_local_port_range=1100 65000", "net.ipv4.tcp_tw_reuse=1")
        for number in range(1, 9):  # so many clients and destinations that ports do not run out
            outside.exec(*f"ip address add 10.77.1.{number}/16 dev wire".split())
            inside.exec(*f"ip address add 10.77.2.{number}/16 dev wire".split())
        yield inside, outside


def serve(side: Namespace, place: Path, name: str, listen: str, answer: str) -> None:
    """An nginx that ends with its namespace."""
    conf = place / f"{name}.conf"
    conf.write_text(_NGINX.format(place=place, name=name, listen=listen, answer=answer))
    side.popen("nginx", "-c", str(conf), stdout=-3, stderr=-3)


def opened(side: Namespace) -> int:
    """Connections that the namespace has accepted, by the kernel's own count."""
    names, numbers = [
        line.split() for line in Path(f"/proc/{side.pid}/net/snmp").read_text().splitlines() if "Tcp:" in line
    ]
    return int(dict(zip(names, numbers, strict=True))["PassiveOpens"])


async def follow(collector: TcpCollector, done: asyncio.Event) -> None:
    """What the runner does with a watching collector."""
    while not done.is_set():
        await collector.due()
        await collector.update()


async def flood(inside: Namespace, outside: Namespace, seconds: float, buffer: tuple[int, ...]) -> Outcome:
    """Follow it from its begin to its end; ss is called beside."""
    kernel = replace(sock_diag.KERNEL, listen=lambda: sock_diag.listen(*buffer))
    collector = TcpCollector(Settings(upstream="all"), PORT, kernel, SystemClock(), OwnTraffic())
    await collector.update()
    done, before, cpu = asyncio.Event(), opened(inside), time.process_time()
    command = [
        "wrk",
        "-t1",
        "-c40",
        f"-d{seconds:.0f}",
        "-H",
        "Connection: close",
        f"http://10.77.0.2:{PORT}/",
    ]
    calls = [*inside.prefix, sys.executable, __file__, "ss", str(seconds)]
    async with asyncio.TaskGroup() as group:
        group.create_task(follow(collector, done))
        wrk = await asyncio.create_subprocess_exec(*outside.prefix, *command, stdout=-3)
        ss = await asyncio.create_subprocess_exec(*calls, stdout=-1)
        ss_cpu, ss_seen = (await ss.communicate())[0].split()
        await wrk.wait()
        await asyncio.sleep(1.5)
        done.set()
    spent = time.process_time() - cpu
    status = collector.status().report
    assert status is not None
    ended = [sum(status.sides[side].closed.values()) for side in ("client", "upstream")]
    buffer_bytes = collector.status().buffer_bytes
    await collector.close()
    return Outcome(
        buffer_bytes,
        opened(inside) - before,
        (ended[0], ended[1]),
        status.missed,
        spent,
        float(ss_cpu),
        int(ss_seen),
    )


def log_cost(connections: int) -> float:
    """CPU seconds that the log of so many connections takes to read and to count."""
    content = gzip.decompress(RECORDED.read_bytes())
    account = DanteAccount(Sessions(lambda _endpoint, _at: False))
    begin = time.process_time()
    account.take(content)
    totals = account.sessions.totals
    once = sum(totals.closed.values()) + totals.failed + totals.probes
    repeats = max(1, min(connections // once, 100))
    for _ in range(repeats):
        account.take(content)
    return (time.process_time() - begin) / ((repeats + 1) * once) * connections


def main(seconds: float) -> None:
    """Both floods, and a table."""
    if missing := [program for program in ("nginx", "wrk", "ss") if shutil.which(program) is None]:
        print(f"not installed, so nothing is measured: {', '.join(missing)}")
        return
    print(
        "| buffer of | connections | a second | reported | of them to destinations | lost, as told | ", end=""
    )
    print("CPU µs each | ss: CPU µs each | ss: seen % | log: CPU µs each |")
    print("| --- " * 10 + "|")
    with bed() as (inside, outside), tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o755)
        serve(outside, place, "target", str(TARGET), 'return 200 "ok";')
        answer = f"proxy_pass http://10.77.0.1:{TARGET}; proxy_http_version 1.0;"
        serve(inside, place, "proxy", str(PORT), answer)
        time.sleep(1)
        with inside.entered():
            for name, buffer in BUFFERS.items():
                it = uvloop.run(flood(inside, outside, seconds, buffer))
                log = log_cost(it.opened)
                ours, ss, theirs = (f"{spent / it.opened * 1e6:.1f}" for spent in (it.cpu, it.ss_cpu, log))
                seen = f"{100 * it.ss_seen / it.opened:.1f}"
                print(
                    f"| {name}, {it.buffer:,} | {it.opened:,} | {it.opened / seconds:,.0f} | "
                    f"{it.reported[0]:,} | "
                    f"{it.reported[1]:,} | {it.missed['buffer']:,} | {ours} | {ss} | {seen} | {theirs} |"
                )
                unlike = 2 * it.opened - sum(it.reported) - it.missed["buffer"]
                print(f"reports neither counted nor told to be lost: {unlike}", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["ss"]:
        call_ss(float(sys.argv[2]))
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
