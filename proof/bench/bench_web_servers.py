"""Our HTTP server beside uvicorn, hypercorn, granian and aiohttp: scrapes, idle connections, attacks.

    python proof/bench/bench_web_servers.py [SECONDS] [IDLE] [WORD]

Each serves the same ready body of a scrape from a process of its own, with our health port in the same loop
and limits as near to ours as its settings allow. Rates are wrk's with 16 connections. The cells of attacks
are `silence / memory / lost`: the longest silence of the health port in ms, the memory at the worst moment in
MB, and how many scrapes were cut off or took more than ten seconds. The servers are installed by pip into an
environment beside the runtime's. With a word, only servers that have it in their names.
"""

import asyncio
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop
from attacks import ATTACKS, Attack
from bench_attacks import Prober
from bench_connections import sit
from bench_serving import wrk
from report import table
from serving import Running, exporter, raise_open_files
from web_servers import SERVERS

import runtime

HERE = Path(__file__).parent
_PACKAGES = ("uvicorn==0.54.0", "hypercorn==0.18.0", "granian==2.8.9", "aiohttp==3.14.5")
_WANTED = (
    "slow requests", "unfinished heads, 2,500 headers", "unfinished heads, 100 headers",
    "100 headers, all at once", "many headers", "empty lines", "chunks of newlines",
    "chunks of a byte", "packets of a byte",
    "pipelining, unread", "pipelining, smallest", "half closed, unread", "silence",
)  # fmt: skip


def python() -> str:
    """The interpreter of the runtime's environment with the other servers in it."""
    own = Path(runtime.python()).parents[1]
    folder = own.with_name(f"{own.name}-servers")
    interpreter = str(folder / "bin" / "python")
    if not (folder / "installed").exists():
        base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        subprocess.run([str(base), "-m", "venv", str(folder)], check=True)
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", str(runtime.ROOT / "requirements.lock")], check=True)
        subprocess.run([*pip, *_PACKAGES], check=True)
        (folder / "installed").touch()
    return interpreter


@contextmanager
def running(interpreter: str, name: str, body: Path) -> Iterator[Running]:
    """One of the servers."""
    environ = runtime.environ() | {"PYTHONPATH": f"{runtime.ROOT / 'src'}:{HERE}"}
    command = [interpreter, str(HERE / "web_servers.py"), name, str(body)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
    )
    assert process.stdout is not None
    try:
        match = re.search(r"http=(\S+) health=(\S+)", process.stdout.readline())
        assert match, f"{name} did not start"
        _await(match[1])
        yield Running(process.pid, f"http://{match[1]}", f"http://{match[2]}")
    finally:
        process.kill()
        process.wait()


def _await(address: str) -> None:
    """Wait until it listens, which takes some of them a second or more."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            time.sleep(1)
            return


def scrape(folder: Path) -> Path:
    """The body of a real one."""
    from urllib.request import urlopen  # noqa: PLC0415

    with exporter(folder) as us, urlopen(f"{us.http}/metrics") as response:
        (folder / "body").write_bytes(response.read())
    return folder / "body"


async def attacked(it: Running, attack: Attack, seconds: float) -> str:
    """The cell of one attack."""
    scrapes, probes = Prober(it.http, "/metrics"), Prober(it.health, "/livez")
    command = [sys.executable, str(HERE / "attackers.py"), attack.act.__name__, it.http]
    attacker = subprocess.Popen(command)  # noqa: ASYNC220 - returns at once
    worst = it.resident()
    await asyncio.sleep(0.5)
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(each.run()) for each in (scrapes, probes)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            worst = max(worst, it.resident())
            await asyncio.sleep(0.05)
        attacker.kill()
        attacker.wait()
        for task in asking:
            task.cancel()
    silence = 1000 * max(probes.seconds, default=float("nan"))
    return f"{silence:,.0f} / {worst:.0f} / {scrapes.lost}"


async def idle(it: Running, count: int) -> str:
    """Memory for so many connections after one request each."""
    before = it.resident()
    sitters = await sit(it.http, count, b"GET /x HTTP/1.1\r\nHost: bench\r\n\r\n")
    after = it.resident()
    still = sum(not each.transport.is_closing() for each in sitters)
    for each in sitters:
        each.transport.abort()
    return f"{after:.0f} (+{(after - before) / count * 1000:.1f} per 1,000), {still:,} open"


def column(interpreter: str, name: str, body: Path, seconds: float, count: int) -> list[str]:
    """All figures of one server."""
    with running(interpreter, name, body) as it:
        start = it.resident()
        before, begin = it.cpu(), time.monotonic()
        rate, tail = wrk(f"{it.http}/metrics", max(int(seconds), 1))
        cost = (it.cpu() - before) / (rate * (time.monotonic() - begin)) * 1e6
        cells = [f"{start:.0f}", f"{rate:,.0f}", tail, f"{cost:.0f}"]
    with running(interpreter, name, body) as it:
        cells.append(uvloop.run(idle(it, count)))
    for attack in ATTACKS:
        if attack.name in _WANTED:
            with running(interpreter, name, body) as it:
                cells.append(uvloop.run(attacked(it, attack, seconds)))
    print(name, cells, file=sys.stderr, flush=True)
    return cells


def main(seconds: float, count: int, word: str) -> None:
    """One server after the other."""
    raise_open_files()
    interpreter = python()
    attacks = [attack.name for attack in ATTACKS if attack.name in _WANTED]
    rows = ["memory at the start, MB", "scrapes a second", "their 99th percentile", "processor for one, µs"]
    rows += [f"memory with {count:,} idle, MB", *attacks]
    with tempfile.TemporaryDirectory() as folder:
        body = scrape(Path(folder))
        names = [name for name in SERVERS if word in name]
        columns = [column(interpreter, name, body, seconds, count) for name in names]
    print(table(["", *names], [[row, *cells] for row, *cells in zip(rows, *columns, strict=True)]))


if __name__ == "__main__":
    given = [*sys.argv[1:4], *("3", "10000", "")[len(sys.argv) - 1 :]]
    main(float(given[0]), int(given[1]), given[2])
