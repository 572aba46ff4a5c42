"""What is measured through real pods, beside what was injected: delays of 0, 50 and 150 ms, a shaped link, an exit."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from testbed import pod as testbed_pod
from testbed.balancer import Balancer, balancer
from testbed.pod import WEB, Pod
from testbed.pool import SOURCES

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(testbed_pod.missing()), reason=f"a pod needs {testbed_pod.missing()}"),
]
DELAYS = (0, 50, 150)  # milliseconds, each way
RATE = 8.0  # Mbit/s on the wire below the tunnel


class Bed:
    """Three pods without exporters, and a balancer on their clients' side that measures them by itself."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.pods: dict[str, Pod] = {}
        for delay in DELAYS:
            beside = next(iter(self.pods.values()), None)
            pod = stack.enter_context(Pod(beside=beside))
            pod.delay(delay)
            self.pods[f"se-{delay}"] = pod
            self.exit(f"se-{delay}", "se")
        self.client = self.pods["se-0"]
        web = f"http://{WEB}"
        settings: dict[str, Any] = {
            "nodes": [
                {"id": name, "country": "se", "url": f"socks5h://{pod.address}:1080"}
                for name, pod in self.pods.items()
            ],
            "probe": {"interval": "1s", "targets": [f"{web}/get", f"{web}/bytes/10"]},
            "exit": {"urls": [f"{web}/who", f"{web}/who?2"], "interval": "2s", "verify": "required"},
            "speed": {"url": f"{web}/bytes/{{bytes}}", "bytes": "1MB", "enabled": False, "budget": "10GB"},
            "ejection": {"share": 0.0},
        }
        entered = ("nsenter", "-t", str(self.client.pid("client")), "--net", "--")
        self.running: Balancer = stack.enter_context(
            balancer(directory, settings, prefix=entered, environ=SOURCES)
        )

    def exit(self, name: str, country: str) -> None:
        """Have services say where a pod's exit is."""
        body = json.dumps({"ip": f"203.0.113.{100 + DELAYS.index(int(name[3:]))}", "country_code": country})
        (self.pods[name].www / "who").write_text(body)

    def api(self, path: str, method: str = "GET") -> Any:
        command = ("curl", "-s", "-m", "5", "-X", method, self.running.http + path)
        return json.loads(self.client.exec("client", *command))

    def until(self, what: str, so: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < deadline, f"{what}\n{self.running.log.read_text()}"
            time.sleep(0.2)

    def state(self, name: str) -> str:
        return str(self.api(f"/api/nodes/{name}")["state"])

    def latency(self, name: str) -> float:
        """The median of what five rounds showed."""
        seen: list[float] = []
        while len(seen) < 5:
            latency = self.api("/api/metrics/current")["nodes"][name]["probe"]["latency_ms"]
            if latency not in seen:
                seen.append(latency)
            time.sleep(0.2)
        return sorted(seen)[2]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with ExitStack() as stack:
        yield Bed(stack, tmp_path)


def test_facts_are_the_truth(bed: Bed) -> None:
    """Latencies within 2 ms and 5 % of what was injected, a shaped link's speed within 5 % of what curl gets."""
    bed.until("seen", lambda: all(bed.state(name) == "ready" for name in bed.pods))
    for _ in range(3):  # a busy machine is late itself
        base, near, far = (bed.latency(name) for name in bed.pods)
        # Two round trips, of two ways each: the proxy's dial to the target, and the request.
        truth = {"near": (near - base, 4 * DELAYS[1]), "far": (far - base, 4 * DELAYS[2])}
        print(
            {name: f"{seen:.1f} ms ({wanted})" for name, (seen, wanted) in truth.items()},
            f"base {base:.1f} ms",
        )
        if all(abs(seen - wanted) <= 2 + 0.05 * wanted for seen, wanted in truth.values()):
            break
    else:
        pytest.fail("not within 2 ms and 5 %")
    bed.pods["se-0"].rate(RATE)
    for attempt in range(3):
        assert bed.api("/api/speed-test/node/se-0", "POST")["nodes"] == ["se-0"]
        bed.until("tested", lambda: not bed.api("/api/speed-test/summary")["waiting"])
        bed.until("over", lambda n=attempt: len(bed.api("/api/speed-test/results/se-0")["history"]) > n)
    results = bed.api("/api/speed-test/results/se-0")["history"]
    curl = bed.client.exec(
        "client", "curl", "-s", "-o", "/dev/null", "-x", bed.client.proxy, "-w",
        "%{size_download} %{time_starttransfer} %{time_total}", f"http://{WEB}/bytes/4000000",
    )  # fmt: skip
    size, first, total = map(float, curl.split())
    truth_mbps = size * 8 / 1e6 / (total - first)
    print(
        [(it["size_bytes"], it["goodput_mbps"], it["download_mbps"]) for it in results],
        f"curl {truth_mbps:.2f}",
    )
    assert results[0]["goodput_mbps"] == pytest.approx(truth_mbps, rel=0.05)
    assert results[0]["goodput_mbps"] < RATE


def test_an_exit_that_changes_country_is_out_within_an_interval(bed: Bed) -> None:
    """And back when it is right again."""
    bed.until("seen", lambda: all(bed.state(name) == "ready" for name in bed.pods))
    bed.exit("se-50", "de")
    bed.until("out", lambda: bed.state("se-50") == "wrong_exit", 2 * 1.1 + 2)
    assert bed.state("se-0") == bed.state("se-150") == "ready"
    bed.exit("se-50", "se")
    bed.until("back", lambda: bed.state("se-50") == "ready", 30)
