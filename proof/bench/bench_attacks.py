"""What bad clients cost: the longest silence of each port, memory at the worst moment and afterwards.

    python proof/bench/bench_attacks.py [SECONDS] [ROUNDS] [WORD]

Each attack runs against a fresh exporter for that long, on loopback, with a bounded number of connections;
then the attacker is ended, and the memory is read again. The same exporter is attacked in several rounds, so
that one sees whether what stays with it grows. Meanwhile one scrape and one health probe are made 50 times a
second over connections of their own. A silence is the time until the answer; what attacker, prober and
others take of the same two cores is in it. The control is the longest silence of the health port of a
second exporter, which nobody attacks, in the same seconds: so much of a silence is the machine's. Scrapes
that were cut off are counted as lost: when there are too many connections the idlest and the costliest go.
With a word, only attacks that have it in their name.
"""

import asyncio
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from attacks import Attack, chosen
from report import table
from serving import Running, exporter, raise_open_files

_RECOVERY = 2.0
_PACE = 0.02
_LONGEST = 10.0
_TLS = "tls_server_config: {cert_file: c.pem, key_file: k.pem}"
HEAD = (
    "attack",
    "scrape p99, ms",
    "longest",
    "health p99, ms",
    "longest",
    "lost",
    "MB before",
    "worst",
    "kept",
    "control",
)


class Prober:
    """Asks one port again and again, and notes how long each answer took."""

    def __init__(self, url: str, path: str, context: ssl.SSLContext | None = None) -> None:
        self._parts = urlsplit(url)
        self._request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
        self._context = context
        self.seconds: list[float] = []
        self.lost = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            start = time.perf_counter()
            try:
                async with asyncio.timeout(_LONGEST):
                    good = await self._ask()
            except (OSError, TimeoutError, EOFError):
                good = False
            except asyncio.CancelledError:
                self.seconds.append(time.perf_counter() - start)  # at least so long
                raise
            took = time.perf_counter() - start
            self.lost += not good
            if good or took >= _LONGEST:
                self.seconds.append(took)
            await asyncio.sleep(_PACE)

    async def _ask(self) -> bool:
        reader, writer = await asyncio.open_connection(
            self._parts.hostname, self._parts.port, ssl=self._context
        )
        try:
            writer.write(self._request)
            return (await reader.read()).startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))
        finally:
            writer.transport.abort()

    def spread(self) -> tuple[str, str]:
        """The 99th percentile, and the longest, in ms."""
        ordered = sorted(self.seconds) or [float("nan")]
        return f"{1000 * ordered[int(len(ordered) * 0.99)]:.0f}", f"{1000 * ordered[-1]:.0f}"


async def attacked(
    us: Running, quiet: Running, attack: Attack, seconds: float, rounds: int
) -> tuple[str, ...]:
    """The row of one attack."""
    context = None
    if attack.target == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    scrapes, probes = Prober(us.http, "/metrics", context), Prober(us.health, "/livez")
    control = Prober(quiet.health, "/livez")
    before = worst = us.resident()
    kept = []
    for _ in range(rounds):
        url = us.health if attack.target == "health" else us.http
        command = [sys.executable, str(Path(__file__).parent / "attackers.py"), attack.act.__name__, url]
        attacker = subprocess.Popen(command)  # noqa: ASYNC220 - returns at once
        await asyncio.sleep(0.5)
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(each.run()) for each in (scrapes, probes, control)]
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                worst = max(worst, us.resident())
                await asyncio.sleep(0.05)
            attacker.kill()
            attacker.wait()
            for task in asking:
                task.cancel()
        await asyncio.sleep(_RECOVERY)
        kept.append(f"{us.resident():.0f}")
    lost = f"{scrapes.lost} of {len(scrapes.seconds) + scrapes.lost}"
    if probes.lost:
        lost += f", health {probes.lost}"
    memory = f"{before:.0f}", f"{worst:.0f}", " ".join(kept)
    return attack.name, *scrapes.spread(), *probes.spread(), lost, *memory, control.spread()[1]


def web_config(folder: Path) -> str:
    """The setting for TLS."""
    key = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-days", "9", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-keyout", "k.pem", "-out", "c.pem"], cwd=folder, check=True, capture_output=True
    )
    (folder / "web.yml").write_text(_TLS)
    return f", web_config: {folder}/web.yml"


def rows(seconds: float, rounds: int, word: str) -> Iterator[tuple[str, ...]]:
    """One attack after the other."""
    with tempfile.TemporaryDirectory() as other, exporter(Path(other)) as quiet:
        for attack in chosen(word):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                more = web_config(folder) if attack.target == "tls" else ""
                with exporter(folder, http=f"request_timeout: 5s{more}") as us:
                    yield uvloop.run(attacked(us, quiet, attack, seconds, rounds))


if __name__ == "__main__":
    raise_open_files()
    given = [*sys.argv[1:4], *("3", "2", "")[len(sys.argv) - 1 :]]
    found = []
    for row in rows(float(given[0]), int(given[1]), given[2]):
        print(row, file=sys.stderr, flush=True)
        found.append(row)
    print(table(HEAD, found))
