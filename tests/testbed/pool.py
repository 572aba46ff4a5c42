"""A pool: several pods with an exporter in each, their clients, and a real Prometheus that scrapes them all.

    with pool(tmp_path, "golden-crab", "free-salmon") as seen:
        seen.until("speed", "proxy_download_speed_mbps")
        seen.query("sum(proxy_active_connections)")

Prometheus and the clients are on the clients' side of the pods; whoever wants to speak to it enters there, as
`query` does. What it would have scraped a day before is put into its storage, so that a comparison has data.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import proxywatch
from testbed import socks
from testbed.danted import rule
from testbed.exporter import Exporter, exporter
from testbed.pod import WEB, Pod

_BLOCKED = "203.0.113.66"
_DAY, _HOUR = 86_400, 3_600
_PROMETHEUS = 9990
SOURCES = {"PYTHONPATH": str(Path(proxywatch.__file__).parents[1])}
"""For inside, where the working directory is another."""
Result = list[dict[str, Any]]


@dataclass
class Pool:
    """A running pool.

    Attributes:
        pods: By the proxy's name.
        exporters: The same.
        url: Of Prometheus, on the clients' side.
    """

    pods: dict[str, Pod]
    exporters: dict[str, Exporter]
    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def client(self) -> Pod:
        """The pod whose client side all share."""
        return next(iter(self.pods.values()))

    def fetch(self, path: str) -> tuple[int, bytes]:
        """An answer of Prometheus: status and body."""
        with self.client.entered("client"):
            try:
                with urllib.request.urlopen(self.url + path, timeout=20) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()

    def query(self, expr: str) -> Result:
        """The result of an instant query."""
        _, body = self.fetch(f"/api/v1/query?{urlencode({'query': expr})}")
        answer = json.loads(body)
        assert answer["status"] == "success", answer["error"]
        return list(answer["data"]["result"])

    def some(self, expr: str, seconds: float = 20) -> Result:
        """The result of a query once it has one: clients go on meanwhile; empty if it never has."""
        deadline = time.monotonic() + seconds
        while not (result := self.query(expr)) and time.monotonic() < deadline:
            time.sleep(0.5)
        return result

    def until(self, expr: str, *, proxies: int = 0, seconds: float = 30) -> None:
        """Wait until a query has a result for so many proxies; for every one, if not said."""
        deadline = time.monotonic() + seconds
        while len(self.query(f"count by (proxy_name) ({expr})")) < (proxies or len(self.pods)):
            assert time.monotonic() < deadline, f"not within {seconds} s: {expr}"
            time.sleep(0.2)


@contextmanager
def pool(
    directory: Path,
    *names: str,
    rules: tuple[Path, ...] = (),
    pace: int = 1,
    day: float = 1.0,
    delays: tuple[float, ...] = (),
) -> Iterator[Pool]:
    """Run a pool until the block ends.

    Args:
        directory: For files.
        names: Of the proxies.
        rules: Files of rules that Prometheus evaluates.
        pace: Seconds from one scrape and one round of probes to the next.
        day: The ratio of yesterday's latency and speed to today's.
        delays: Of the tunnels, one way, in milliseconds.
    """
    with ExitStack() as stack:
        running = Pool({}, {})
        for number, name in enumerate(names):
            beside = next(iter(running.pods.values()), None)
            pod = stack.enter_context(Pod(beside=beside, dante_extra=_blocking()))
            running.pods[name] = pod
            pod.delay(*delays[number : number + 1] or (0,))
            serve_identity(pod, number)
            place = directory / name
            place.mkdir()
            running.exporters[name] = stack.enter_context(
                exporter(place, settings_of(name, pod, pace), prefix=inside(pod), environ=SOURCES)
            )
        stack.callback(running.ended.set)
        for name in names:
            thread = threading.Thread(target=_clients, args=(running, name), daemon=True)
            thread.start()
            stack.callback(thread.join, 20)
            stack.callback(running.ended.set)
        running.url = stack.enter_context(_prometheus(directory, running, rules, pace, day))
        yield running


def _blocking() -> str:
    return rule("socks block", to=f"{_BLOCKED}/32", log="connect disconnect error")


def inside(pod: Pod) -> tuple[str, ...]:
    return ("nsenter", "-t", str(pod.pid("pod")), "--net", "--mount", "--pid", "--")


def settings_of(name: str, pod: Pod, pace: int) -> Mapping[str, object]:
    return {
        "proxy": {"name": name, "url": "socks5h://127.0.0.1:1080"},
        "latency": {
            "interval": f"{pace}s",
            "timeout": "2s",
            "targets": ["http://web.test/get", "http://other.test/bytes/3000"],
        },
        "speed": {"interval": f"{3 * pace}s", "url": "http://web.test/bytes/{bytes}", "bytes": "1MB"},
        "sessions": {"log": str(pod.log), "start": "beginning"},
        "exit": {
            "interval": f"{2 * pace}s",
            "urls": ["http://web.test/exit.json"],
            "expect": {"country": "se", "mullvad": True},
        },
        "http": {"listen": f"{pod.address}:9090"},
        "health": {"listen": f"{pod.address}:9999"},
    }


def serve_identity(pod: Pod, number: int) -> None:
    """The service that says where traffic comes out, and something on the ports of https and dns."""
    places = (("Gothenburg", "se-got-wg-001"), ("Malmö", "se-mma-wg-004"), ("Stockholm", "se-sto-wg-011"))
    city, server = places[number % len(places)]
    seen = {"ip": f"198.51.100.{number + 1}", "country": "Sweden", "city": city}
    seen |= {"mullvad_exit_ip": True, "mullvad_exit_ip_hostname": server}  # type: ignore[dict-item]
    (pod.www / "exit.json").write_text(json.dumps(seen))
    (pod.www / "page").write_bytes(bytes(30_000))
    for port in ("443", "53"):
        command = (sys.executable, "-m", "http.server", port, "--bind", WEB, "--directory", str(pod.www))
        pod.popen("far", *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _clients(running: Pool, name: str) -> None:
    """Requests of several kinds, one after the other, and a connection that is held for a while."""
    pod, dice = running.pods[name], random.Random(name)
    held: list[Any] = []
    with pod.entered("client"):
        while not running.ended.wait(dice.expovariate(6)):
            with suppress(OSError):
                _request(pod.address, dice)
            if dice.random() < 0.2:
                with suppress(OSError):
                    held.append(socks.connect(1080, (WEB, 80), pod.address))
            if len(held) > dice.randint(2, 12):
                socks.close(held.pop(0))
    socks.close(*held)


def _request(proxy: str, dice: random.Random) -> None:
    kinds = {"page": 36, "https": 24, "dns": 4, "nowhere": 1, "refused": 1, "blocked": 1, "garbage": 1}
    match dice.choices(list(kinds), list(kinds.values()))[0]:
        case "page":
            _get(proxy, 80, f"/bytes/{int(dice.paretovariate(1.2) * 4000) % 2_000_000}")
        case "https":
            _get(proxy, 443, "/page")
        case "dns":
            _get(proxy, 53, "/exit.json")
        case "nowhere":
            _fail(proxy, ("nx.test", 80))
        case "refused":
            _fail(proxy, (WEB, 81))
        case "blocked":
            _fail(proxy, (_BLOCKED, 80))
        case _:
            with socks.dial(1080, proxy) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                client.recv(100)


def _fail(proxy: str, destination: tuple[str, int]) -> None:
    with socks.dial(1080, proxy) as client:
        socks.greet(client)
        socks.request(client, destination)
        client.recv(100)


def _get(proxy: str, port: int, path: str) -> None:
    with socks.connect(1080, (WEB, port), proxy) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n".encode())
        while client.recv(65536):
            pass


@contextmanager
def _prometheus(
    directory: Path, running: Pool, rules: tuple[Path, ...], pace: int, day: float
) -> Iterator[str]:
    client = running.client
    address = f"10.90.{client.number}.1:{_PROMETHEUS}"
    targets = [f"{pod.address}:9090" for pod in running.pods.values()]
    conf, data = directory / "prometheus.yml", directory / "tsdb"
    settings = {
        "global": {
            "scrape_interval": f"{pace}s",
            "scrape_timeout": f"{pace}s",
            "evaluation_interval": f"{pace}s",
        },
        "rule_files": [str(file) for file in rules],
        "scrape_configs": [{"job_name": "proxies", "static_configs": [{"targets": targets}]}],
    }
    conf.write_text(json.dumps(settings))
    _fill(data, directory / "yesterday.txt", running, day)
    with (directory / "prometheus.log").open("w") as log:
        process = client.popen(
            "client", "prometheus", f"--config.file={conf}", f"--storage.tsdb.path={data}",
            f"--web.listen-address={address}", stdout=log, stderr=log,
        )  # fmt: skip
    running.url = f"http://{address}"
    client.wait("prometheus", lambda: _ready(running), 20)
    try:
        yield running.url
    finally:
        process.terminate()
        process.wait(20)


def _ready(running: Pool) -> bool:
    try:
        return running.fetch("/-/ready")[0] == 200
    except OSError:
        return False


def _fill(data: Path, file: Path, running: Pool, day: float) -> None:
    """What was measured at the start, as if for an hour and more a day ago."""
    now = int(time.time())
    stamps = range(now - _DAY - _HOUR, now - _DAY + _HOUR, 60)
    text = ""
    for metric, ratio in (("proxy_latency_ms", day), ("proxy_download_speed_mbps", 1 / day)):
        text += f"# TYPE {metric} gauge\n"
        for name, one in running.exporters.items():
            labels = f'proxy_name="{name}",job="proxies",instance="{running.pods[name].address}:9090"'
            with running.client.entered("client"):
                one.until(metric, lambda one=one, metric=metric: one.value(metric) is not None)  # type: ignore[misc]
                value = (one.value(metric) or 0) * ratio
            text += "".join(f"{metric}{{{labels}}} {value} {stamp}\n" for stamp in stamps)
    file.write_text(text + "# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(data)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"TZ": "UTC"})
