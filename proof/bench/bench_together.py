"""Memory and processor with everything on, beside five exporters that together tell a part of it.

    PYTHONPATH=src:tests:proof python proof/bench/bench_together.py [MINUTES]

All of them in the same pod (real WireGuard, real Dante, a client with two requests a second), at their
default cadence, scraped every 15 s; one of our two latency targets is over TLS. Processor time is compared
with the four without smokeping_prober, whose raw sockets cost more than all others. Needs root, and Debian's
prometheus-node-exporter, -blackbox-exporter, -process-exporter, -smokeping-prober and mtail; what is missing
is left out, and said. A plot is put into the folder that PLOTS names.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from plot import chart
from report import table

import runtime
from testbed.namespace import Inside, child_of
from testbed.pod import WEB, Pod

_SCRAPE = 15.0
_WARM = 45.0
_IMAGE = "memory.svg"
_ANSWER = '{"ip": "203.0.113.77", "country": "Sweden", "mullvad_exit_ip": true}'
_BLACKBOX = {
    "modules": {
        "proxy": {
            "prober": "http",
            "timeout": "10s",
            "http": {"proxy_url": "socks5://127.0.0.1:1080", "preferred_ip_protocol": "ip4"},
        }
    }
}
_MTAIL = """\
counter requests_total by operation
/ (?P<operation>tcp\\/(accept|connect) [\\[\\]]): / { requests_total[$operation]++ }
"""


@dataclass
class Subject:
    """One exporter: how it is started, what is scraped, what was seen."""

    name: str
    command: list[str]
    url: str = ""
    process: Inside | None = None
    scrapes: list[float] = field(default_factory=list)
    resident: list[tuple[float, float]] = field(default_factory=list)
    start: float = 0.0
    body: int = 0

    @property
    def pid(self) -> int:
        """Of the exporter itself."""
        assert self.process
        return child_of(self.process.pid) or self.process.pid

    def scrape(self) -> None:
        """As Prometheus does."""
        begin = time.perf_counter()
        with urllib.request.urlopen(self.url, timeout=15) as response:
            self.body = len(response.read())
        self.scrapes.append(time.perf_counter() - begin)

    def cpu(self) -> float:
        """Seconds of processor, ended children included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def memory(self, entry: str) -> float:
        """MB of `Rss` or `Pss`."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0


def settings(pod: Pod) -> dict[str, object]:
    """Everything on, at the default cadence; only addresses are said."""
    return {
        "latency": {"targets": [f"https://{WEB}/", "http://web.test/get"]},
        "speed": {"url": f"http://{WEB}/bytes/{{bytes}}"},
        "exit": {"urls": ["http://web.test/exit.json", f"http://{WEB}/exit.json"]},
        "sessions": {"log": str(pod.log), "checkpoint": str(pod.directory / "sessions.json")},
    }


def over_tls(pod: Pod) -> dict[str, str]:
    """A server of TLS at the far end, and the environment in which it is trusted beside all authorities."""
    key, certificate, bundle = (pod.directory / name for name in ("tls.key", "tls.pem", "bundle.pem"))
    names = f"subjectAltName=IP:{WEB},DNS:web.test"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=web"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, "-addext", names, *files], check=True, capture_output=True)
    bundle.write_bytes(Path("/etc/ssl/certs/ca-certificates.crt").read_bytes() + certificate.read_bytes())
    server = ["openssl", "s_server", "-accept", "443", "-www", "-quiet"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    pod.popen("far", *server, "-cert", str(certificate), "-key", str(key), **quiet)
    return {"SSL_CERT_FILE": str(bundle)}


def subjects(pod: Pod) -> list[Subject]:
    """Us, and of the five those that are installed."""
    folder = pod.directory
    (folder / "proxywatch.yaml").write_text(yaml.safe_dump(settings(pod)))
    (folder / "blackbox.yml").write_text(yaml.safe_dump(_BLACKBOX))
    (folder / "process.yml").write_text("process_names: [{comm: [danted]}]\n")
    (folder / "dante.mtail").write_text(_MTAIL)
    node, blackbox, process, smokeping = ("127.0.0.1:" + port for port in ("9100", "9115", "9256", "9374"))
    everything = [
        Subject("proxywatch", [
            runtime.python(), "-m", "proxywatch", "run", "-c", f"{folder}/proxywatch.yaml",
        ]),
        Subject("node_exporter", ["prometheus-node-exporter", f"--web.listen-address={node}"]),
        Subject("blackbox_exporter", [
            "prometheus-blackbox-exporter", f"--config.file={folder}/blackbox.yml",
            f"--web.listen-address={blackbox}",
        ]),
        Subject("process-exporter", [
            "prometheus-process-exporter", f"-config.path={folder}/process.yml",
            f"-web.listen-address={process}",
        ]),
        Subject("mtail", [
            "mtail", "-address=127.0.0.1", "-port=3903", f"-progs={folder}",
            f"-logs={pod.log}", "-logtostderr",
        ]),
        Subject("smokeping_prober", [
            "prometheus-smokeping-prober", f"--web.listen-address={smokeping}", "--privileged", WEB,
        ]),
    ]  # fmt: skip
    addresses = ("127.0.0.1:9090", node, blackbox, process, "127.0.0.1:3903", smokeping)
    for subject, address in zip(everything, addresses, strict=True):
        subject.url = f"http://{address}/metrics"
    everything[2].url = f"http://{blackbox}/probe?module=proxy&target=http://{WEB}/get"
    there = [s for s in everything if shutil.which(s.command[0])]
    for subject in everything:
        if subject not in there:
            print(f"{subject.name} is not installed: left out")
    return there


def traffic(pod: Pod, end: threading.Event) -> None:
    """A client with two requests a second."""
    while not end.wait(0.5):
        with suppress(RuntimeError):
            pod.get("/bytes/20000")


def watch(pod: Pod, running: list[Subject], minutes: float) -> dict[str, float]:
    """Scrape all of them for so long; the processor that each took, in percent of a core."""
    out = (pod.directory / "exporters.out").open("w")
    environ = runtime.environ() | over_tls(pod)
    for subject in running:
        subject.process = pod.popen("pod", *subject.command, env=environ, stdout=out, stderr=out)
    begin = time.monotonic()
    before: dict[str, tuple[float, float]] = {}
    while time.monotonic() < begin + _WARM + 60 * minutes:
        time.sleep(_SCRAPE)
        for subject in running:
            subject.scrape()
            now = time.monotonic()
            subject.resident.append(((now - begin) / 60, subject.memory("Rss")))
            if now > begin + _WARM:
                before.setdefault(subject.name, (now, subject.cpu()))
    now = time.monotonic()
    return {s.name: 100 * (s.cpu() - before[s.name][1]) / (now - before[s.name][0]) for s in running}


def tell(running: list[Subject], percent: dict[str, float], minutes: float) -> None:
    """The table, the plot, the goals."""
    us, peers = running[0], running[1:]
    rows = [
        (
            s.name,
            s.resident[-1][1],
            s.memory("Pss"),
            percent[s.name],
            1000 * sorted(s.scrapes)[len(s.scrapes) // 2],
            s.body,
        )
        for s in running
    ]
    sums = [sum(row[index] for row in rows[1:]) for index in range(1, 6)]  # type: ignore[misc]
    rows.append((f"the {len(peers)} together", *sums))  # type: ignore[arg-type]
    rows.append(
        (
            "proxywatch / them",
            *(mine / its if its else 0 for mine, its in zip(rows[0][1:], sums, strict=True)),
        )
    )  # type: ignore[arg-type]
    four = sum(percent[s.name] for s in peers if s.name != "smokeping_prober")
    head = ("exporter", "resident MB", "proportional MB", "% of a core", "scrape ms (median)", "body bytes")
    print(f"Over {minutes:g} minutes after {_WARM:.0f} s of warming up; scraped every {_SCRAPE:.0f} s.\n")
    print(table(head, [(str(row[0]), *(f"{value:.2f}" for value in row[1:])) for row in rows]))
    if four:
        ratio = percent[us.name] / four
        print(f"\nprocessor, beside the others without smokeping_prober: {ratio:.2f} of theirs")
    together = [(us.resident[i][0], sum(p.resident[i][1] for p in peers)) for i in range(len(us.resident))]
    lines = {s.name: s.resident for s in running} | {"the five together": together}
    if folder := os.environ.get("PLOTS"):
        (Path(folder) / _IMAGE).write_text(chart("Resident memory", "minutes", "MB", lines))
        print(f"\n![Resident memory](images/{_IMAGE})")


def main() -> None:
    """Measure, print."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    end = threading.Event()
    runtime.python()  # from within the pod nothing can be fetched
    with Pod() as pod, pod.entered("pod"):
        (pod.www / "exit.json").write_text(_ANSWER)
        clients = threading.Thread(target=traffic, args=(pod, end))
        clients.start()
        running: list[Subject] = []
        try:
            running = subjects(pod)
            percent = watch(pod, running, minutes)
            tell(running, percent, minutes)
        finally:
            end.set()
            clients.join()
            for subject in running:
                if subject.process:
                    subject.process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
