"""What a probe costs, and how fast a speed test can be, beside the tools that one would take instead.

    PYTHONPATH=src:tests:proof python proof/bench/bench_probe.py [PROBES]

All go through the same real danted to the same target on loopback, in turns, so that only ratios count:
CPU per probe of the daemon's own transfers, of a curl process per probe, and of blackbox_exporter
(Debian: prometheus-blackbox-exporter; left out when it is not there); then the speed of a large transfer by
the curl program and by ours.
"""

import asyncio
import mmap
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from proxywatch.probe.proxy import Proxy
from proxywatch.probe.request import Request
from support.probing import prober
from testbed.danted import danted, free_port

_ROUNDS = 7
_LARGE = 1_500_000_000
_BLACKBOX = """\
modules:
  through_proxy:
    prober: http
    timeout: 5s
    http: {{proxy_url: "socks5://127.0.0.1:{port}", preferred_ip_protocol: ip4}}
"""


@contextmanager
def site() -> Iterator[str]:
    """An HTTP server in a process of its own that answers /N with N bytes; its URL without the N."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    child = os.fork()
    if child == 0:
        uvloop.run(_serve(listener))
    port = listener.getsockname()[1]
    listener.close()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


async def _serve(listener: socket.socket) -> None:
    block = memoryview(mmap.mmap(-1, 1 << 20))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1][1:])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for start in range(0, size, len(block)):
                writer.write(block[: size - start])
                await writer.drain()
        except (OSError, EOFError):
            pass
        writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    await server.serve_forever()


def _cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


async def _ours(proxy: str, url: str, count: int) -> float:
    maker = prober(Proxy(url=proxy))
    request = Request("latency", url, 5, 65536)
    start = _cpu(resource.RUSAGE_SELF)
    for _ in range(count):
        seen = await maker.probe(request)
        assert seen.ok, seen
    used = _cpu(resource.RUSAGE_SELF) - start
    await maker.transfers.aclose()
    return used / count


def by_us(proxy: str, url: str, count: int) -> float:
    """CPU seconds per probe of our transfers."""
    return uvloop.run(_ours(proxy, url, count))


def by_curl(proxy: str, url: str, count: int) -> float:
    """CPU seconds per probe of a curl process each."""
    start = _cpu(resource.RUSAGE_CHILDREN)
    for _ in range(count):
        subprocess.run(["curl", "-s", "-o", "/dev/null", "-x", proxy, url], check=True)
    return (_cpu(resource.RUSAGE_CHILDREN) - start) / count


@contextmanager
def blackbox(port: int, directory: Path) -> Iterator[Callable[[str, str, int], float] | None]:
    """The same by a running blackbox_exporter, which is asked over HTTP for each probe."""
    program = shutil.which("prometheus-blackbox-exporter") or shutil.which("blackbox_exporter")
    if program is None:
        yield None
        return
    config, listen = directory / "blackbox.yml", free_port()
    config.write_text(_BLACKBOX.format(port=port))
    options = (f"--config.file={config}", f"--web.listen-address=127.0.0.1:{listen}", "--log.level=error")
    process = subprocess.Popen([program, *options])

    def measure(_: str, url: str, count: int) -> float:
        start = _ticks(process.pid)
        for _ in range(count):
            question = f"http://127.0.0.1:{listen}/probe?module=through_proxy&target={url}"
            with urllib.request.urlopen(question) as answer:
                assert b"probe_success 1" in answer.read()
        return (_ticks(process.pid) - start) / os.sysconf("SC_CLK_TCK") / count

    try:
        _await(listen)
        yield measure
    finally:
        process.kill()
        process.wait()


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _await(port: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("blackbox_exporter does not listen")


def curl_speed(proxy: str, url: str) -> float:
    """Bytes per second of body, from the first byte on, by the curl program."""
    report = "%{size_download} %{time_starttransfer} %{time_total}"
    words = subprocess.check_output(["curl", "-s", "-o", "/dev/null", "-w", report, "-x", proxy, url])
    size, start, end = map(float, words.split())
    return size / (end - start)


def our_speed(proxy: str, url: str) -> float:
    """The same by a speed test of ours."""

    async def once() -> float:
        maker = prober(Proxy(url=proxy))
        seen = await maker.probe(Request("speed", url, 60, _LARGE, enough=True))
        await maker.transfers.aclose()
        assert seen.speed, seen
        return seen.speed

    return uvloop.run(once())


def main() -> None:
    """Print both comparisons."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder, site() as base:
        directory = Path(folder)
        directory.chmod(0o755)
        with danted(directory, log="") as server, blackbox(server.port, directory) as by_blackbox:
            proxy = f"socks5h://127.0.0.1:{server.port}"
            ways = {"ours": by_us, "curl process": by_curl}
            if by_blackbox:
                ways["blackbox_exporter"] = by_blackbox
            costs: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(_ROUNDS):
                for name, way in ways.items():
                    costs[name].append(way(proxy, f"{base}5", count))
            print(f"CPU per probe, median of {_ROUNDS} x {count}; fewest to most")
            for name, values in costs.items():
                ratio = statistics.median(costs["ours"]) / statistics.median(values)
                spread = f"{min(values) * 1000:.2f} to {max(values) * 1000:.2f}"
                middle = statistics.median(values) * 1000
                print(f"  {name:18} {middle:6.2f} ms ({spread}), ours {ratio:.3f} of it")
            pairs = [
                (our_speed(proxy, f"{base}{_LARGE}"), curl_speed(proxy, f"{base}{_LARGE}"))
                for _ in range(_ROUNDS)
            ]
            ours, curl = (max(column) * 8e-9 for column in zip(*pairs, strict=True))
            ratio = statistics.median(mine / theirs for mine, theirs in pairs)
            print(f"speed ceiling, best of {_ROUNDS}: ours {ours:.1f} Gbit/s, the curl program {curl:.1f}")
            print(f"  ratio of the best {ours / curl:.2f}, median of the ratios in turns {ratio:.2f}")


if __name__ == "__main__":
    main()
