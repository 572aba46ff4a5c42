"""The balancer before three whole pods: real WireGuard, Dante, exporter in each; a tunnel is cut under traffic."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from testbed import pod as testbed_pod
from testbed import socks
from testbed.balancer import Balancer, balancer
from testbed.exporter import exporter
from testbed.pod import WEB, Pod
from testbed.pool import SOURCES, inside, serve_identity, settings_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(testbed_pod.missing()), reason=f"a pod needs {testbed_pod.missing()}"),
]


class Bed:
    """Three pods whose clients share one side, on which the balancer stands."""

    def __init__(self, stack: ExitStack, directory: Path, retries: int) -> None:
        self.pods: dict[str, Pod] = {}
        nodes = []
        for number in range(3):
            name = f"se-{number + 1}"
            beside = next(iter(self.pods.values()), None)
            pod = stack.enter_context(Pod(beside=beside))
            serve_identity(pod, number)
            place = directory / name
            place.mkdir()
            conf = dict(settings_of(name, pod, 1)) | {"speed": {"enabled": False}}
            stack.enter_context(exporter(place, conf, prefix=inside(pod), environ=SOURCES))
            self.pods[name] = pod
            nodes.append(
                {
                    "id": name,
                    "country": "se",
                    "url": f"socks5h://{pod.address}:1080",
                    "sidecar": f"http://{pod.address}:9090",
                }
            )
        self.client = next(iter(self.pods.values()))
        settings: dict[str, Any] = {
            "nodes": nodes,
            "balancing": {"retries": retries, "strategy": "round_robin"},
            "relay": {"dial_timeout": "2s"},
            "collect": {"interval": "1s"},
            "exit": {"verify": "required", "max_age": "20s"},
            "ejection": {"base": "3s"},
        }
        entered = ("nsenter", "-t", str(self.client.pid("client")), "--net", "--")
        self.running: Balancer = stack.enter_context(
            balancer(directory, settings, prefix=entered, environ=SOURCES)
        )
        self.until("every exit is verified", lambda: set(self.states().values()) == {"ready"}, 60)

    def api(self, path: str) -> Any:
        """A document of the API, asked for on the balancer's side."""
        url = self.running.http + path
        return json.loads(self.client.exec("client", "curl", "-s", "-m", "5", url))

    def states(self) -> dict[str, str]:
        return {node["id"]: node["state"] for node in self.api("/api/nodes")}

    def until(self, what: str, so: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < deadline, f"{what}: {self.states()}\n{self.running.log.read_text()}"
            time.sleep(0.2)


class Traffic:
    """Clients that ask for a page five times a second, and count what became of it."""

    def __init__(self, bed: Bed) -> None:
        self.good = 0
        self.failed: list[str] = []
        self._bed = bed
        self._ended = threading.Event()

    @contextmanager
    def going(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._client, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(20)

    def _client(self) -> None:
        with self._bed.client.entered("client"):
            while not self._ended.wait(0.2):
                try:
                    self._ask()
                    self.good += 1
                except (OSError, AssertionError) as error:
                    self.failed.append(f"{time.monotonic():.1f} {error!r}")

    def _ask(self) -> None:
        with socks.connect(self._bed.running.port, (WEB, 80)) as client:
            client.settimeout(15)
            client.sendall(b"GET /bytes/1000 HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n")
            received = b""
            while data := client.recv(65536):
                received += data
        assert received.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")), received[:80]


@pytest.mark.parametrize(("retries", "bound"), [(2, 0), (0, 3)])
def test_a_tunnel_that_is_cut_under_traffic(tmp_path: Path, retries: int, bound: int) -> None:
    """Behind a live Dante: with retries no request fails, without at most three; the node returns by itself."""
    with ExitStack() as stack:
        bed = Bed(stack, tmp_path, retries)
        traffic = Traffic(bed)
        with traffic.going():
            time.sleep(5)
            assert traffic.failed == []
            before = traffic.good
            bed.pods["se-2"].cut()
            bed.until("se-2 is out", lambda: bed.states()["se-2"] not in ("ready", "trial", "unseen"))
            time.sleep(15)
            assert len(traffic.failed) <= bound, traffic.failed
            assert traffic.good > before + 20
            bed.pods["se-2"].heal()
            bed.until("se-2 serves again", lambda: bed.states()["se-2"] == "ready", 90)
            served = traffic.good
            time.sleep(3)
            assert traffic.good > served
        print(f"\nretries {retries}: {traffic.good} requests, {len(traffic.failed)} failed")
        assert len(traffic.failed) <= bound, traffic.failed


def test_nothing_goes_direct_whatever_fails(tmp_path: Path) -> None:
    """A counter in the balancer's own network sees no packet to a destination, through every fault."""
    with ExitStack() as stack:
        bed = Bed(stack, tmp_path, retries=2)
        _count_direct(bed.client)
        with bed.client.entered("client"):
            with socks.connect(bed.running.port, (WEB, 80)) as client:
                client.sendall(b"GET /bytes/10 HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n")
                assert client.recv(100)
            for fault in ("cut", "stop_dante"):
                for pod in bed.pods.values():
                    getattr(pod, fault)()
                for _ in range(6):
                    with pytest.raises((OSError, AssertionError)):
                        socks.connect(bed.running.port, (WEB, 80)).close()
        assert _counted(bed.client) == 0
        text = bed.client.exec("client", "curl", "-s", f"{bed.running.http}/metrics")
        assert "balancer_wrong_exits_total 0.0" in text


def _count_direct(pod: Pod) -> None:
    """Count whatever leaves the clients' side for the far web server itself."""
    rules = f"""
    table inet direct {{
      chain out {{
        type filter hook output priority 0;
        ip daddr {WEB} counter
      }}
    }}
    """
    subprocess.run([*pod.prefix("client"), "nft", "-f", "-"], input=rules, text=True, check=True)


def _counted(pod: Pod) -> int:
    text = pod.exec("client", "nft", "-j", "list", "chain", "inet", "direct", "out")
    rules = [entry["rule"] for entry in json.loads(text)["nftables"] if "rule" in entry]
    (counter,) = [part["counter"] for rule in rules for part in rule["expr"] if "counter" in part]
    return int(counter["packets"])
