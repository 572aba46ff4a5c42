"""The balancer as a process, before real Dantes: clients, choices, refusals, reload, its end."""

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from testbed.balancer import Balancer, balancer
from testbed.danted import BINARY, Danted, danted
from testbed.exporter import proxywatch

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="needs danted")


class Target:
    """A web server that counts who connects to it."""

    def __init__(self) -> None:
        self.connections = 0
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                target.connections += 1
                body = b"x" * 1000
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/get"


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class Sidecar:
    """Publishes what a test says."""

    def __init__(self, country: str) -> None:
        self.country = country
        self.tunnel = 1
        sidecar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = sidecar.text().encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def text(self) -> str:
        return (
            f"proxy_latency_ms 50\nvpn_connection_status {self.tunnel}\n"
            f'proxy_exit_info{{ip="203.0.113.7",country="{self.country}"}} 1\n'
            f"proxy_exit_last_success_timestamp_seconds {time.time()}\n"
        )


class Bed:
    """Three real Dantes, two in Sweden and one in Germany, with sidecars, a target, and the balancer."""

    def __init__(self, stack: ExitStack, directory: Path, **settings: Any) -> None:
        self.target = Target()
        stack.enter_context(serving(self.target.server))
        self.dantes: dict[str, Danted] = {}
        self.sidecars: dict[str, Sidecar] = {}
        nodes = []
        for name in ("se-1", "se-2", "de-1"):
            country = name[:2]
            (directory / name).mkdir()
            dante = stack.enter_context(danted(directory / name))
            sidecar = Sidecar(country)
            stack.enter_context(serving(sidecar.server))
            self.dantes[name], self.sidecars[name] = dante, sidecar
            url = f"socks5h://127.0.0.1:{dante.port}"
            nodes.append({"id": name, "country": country, "url": url, "sidecar": sidecar.url})
        self.settings = {"nodes": nodes, "collect": {"interval": "1s"}} | settings
        self.running: Balancer = stack.enter_context(balancer(directory, self.settings))
        self.running.until("all exits are verified", lambda: set(self.running.states().values()) == {"ready"})

    def served(self, user: str, scheme: str = "socks5h") -> bool:
        """Whether a client gets its page."""
        return self.running.fetch(self.target.url, user, scheme=scheme).stdout == "200 1000"


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with ExitStack() as stack:
        yield Bed(stack, tmp_path)


def test_clients_get_an_exit_in_the_country_that_they_ask_for(bed: Bed) -> None:
    """SOCKS5 and HTTP CONNECT on one port, the country in the user name; the log of each Dante is the proof."""
    for scheme in ("socks5h", "http"):
        for user in ("x-country-se", "x-country-de", "x"):
            assert bed.served(user, scheme), (scheme, user)
    nodes = [entry["node"] for entry in bed.running.api("/api/load-balancer/decisions")[1]]
    assert len(nodes) == 6
    assert nodes[1] == nodes[4] == "de-1"
    assert nodes[2][:2] == nodes[5][:2] == "se"
    seen = sum(
        "pass(" in line and "tcp/connect [" in line
        for line in bed.dantes["de-1"].log.read_text().splitlines()
    )
    assert seen == nodes.count("de-1")
    assert bed.running.metric("balancer_wrong_exits_total") == 0


def test_a_country_without_nodes_is_refused_and_nothing_goes_direct(bed: Bed) -> None:
    """A SOCKS reply, or 503 with the reason; the target saw nobody."""
    before = bed.target.connections
    assert "(1)" in bed.running.fetch(bed.target.url, "x-country-jp").stderr
    refused = subprocess.run(
        ["curl", "-s", "-i", "-m", "5", "-x", f"http://x-country-jp:any@{bed.running.relay}", bed.target.url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "503" in refused.stdout.splitlines()[0]
    assert "jp" in refused.stdout
    assert bed.target.connections == before
    assert bed.running.metric("balancer_refused_total", reason="no_node") == 2


def test_all_nodes_down(bed: Bed) -> None:
    """Told down by their sidecars: not one is tried, /readyz says so, and it is over when they are up again."""
    for sidecar in bed.sidecars.values():
        sidecar.tunnel = 0
    bed.running.until("all down", lambda: set(bed.running.states().values()) == {"down"})
    before = bed.target.connections
    assert not bed.served("x-country-se")
    assert bed.target.connections == before
    assert bed.running.api("/readyz", base=bed.running.health) == (
        503, "- nodes: 0 of 3 nodes are usable\n",
    )  # fmt: skip
    for sidecar in bed.sidecars.values():
        sidecar.tunnel = 1
    bed.running.until("back", lambda: bed.served("x-country-se"))
    assert bed.running.api("/readyz", base=bed.running.health)[0] == 200


def test_an_exit_that_drifts_is_out_at_once(bed: Bed) -> None:
    """Seen in another country: not chosen, and open connections through it are closed."""
    bed.sidecars["de-1"].country = "fr"
    bed.running.until("out", lambda: bed.running.states()["de-1"] == "wrong_exit")
    before = bed.target.connections
    assert not bed.served("x-country-de")
    assert bed.target.connections == before
    assert "not in de" in bed.running.nodes()["de-1"]["reason"]


def test_a_proxy_that_is_gone_costs_no_client_its_request(tmp_path: Path) -> None:
    """The next node is tried; after three failures the first is ejected; it comes back by itself."""
    with ExitStack() as stack:
        bed = Bed(stack, tmp_path, balancing={"strategy": "round_robin"}, ejection={"base": "2s"})
        port = bed.dantes["se-1"].port
        bed.dantes["se-1"].stop()
        assert all(bed.served("x-country-se") for _ in range(8))
        assert bed.running.states()["se-1"] == "ejected"
        assert bed.running.metric("balancer_retries_total") == 3
        assert bed.running.metric("balancer_attempt_failures_total", blame="node") == 3
        stack.enter_context(danted(tmp_path / "se-1", port=port))
        bed.running.until(
            "it serves again",
            lambda: bed.served("x-country-se") and bed.running.states()["se-1"] == "ready",
        )


def test_settings_are_reloaded_and_no_connection_is_cut(bed: Bed) -> None:
    """A node more, at SIGHUP; a bad file changes nothing."""
    with socket.create_connection(("127.0.0.1", bed.running.port)) as client:
        client.sendall(b"\x05\x01\x00")
        assert client.recv(2) == b"\x05\x00"
        host, port = bed.target.server.server_address[:2]
        client.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(str(host)) + int(port).to_bytes(2, "big"))
        assert client.recv(10)[1] == 0
        text = bed.running.conf.read_text()
        bed.running.conf.write_text(text.replace("id: de-1", "id: list"))
        bed.running.process.send_signal(signal.SIGHUP)
        bed.running.until("refused", lambda: "word of the API" in bed.running.log.read_text())
        assert "de-1" in bed.running.nodes()
        bed.running.conf.write_text(text.replace("id: de-1", "id: de-9"))
        bed.running.process.send_signal(signal.SIGHUP)
        bed.running.until("loaded", lambda: "de-9" in bed.running.nodes())
        client.sendall(b"GET /get HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200")


def test_the_end_waits_for_open_connections_and_takes_no_new_ones(tmp_path: Path) -> None:
    """Within the drain's bound; what is open then is cut."""
    with ExitStack() as stack:
        bed = Bed(stack, tmp_path, relay={"drain": "2s"})
        client = stack.enter_context(socket.create_connection(("127.0.0.1", bed.running.port)))
        client.sendall(b"\x05\x01\x00")
        client.recv(2)
        host, port = bed.target.server.server_address[:2]
        client.sendall(b"\x05\x01\x00\x01" + socket.inet_aton(str(host)) + int(port).to_bytes(2, "big"))
        assert client.recv(10)[1] == 0
        start = time.monotonic()
        bed.running.process.terminate()
        time.sleep(0.5)
        with pytest.raises(OSError, match=r".*"):
            socket.create_connection(("127.0.0.1", bed.running.port), timeout=1).recv(1)
        client.sendall(b"GET /get HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200")
        assert bed.running.process.wait(10) == 0
        assert time.monotonic() - start < 8


def test_seven_mistakes_are_seven_messages(tmp_path: Path) -> None:
    """All at once, each with its place."""
    conf = tmp_path / "b.yaml"
    conf.write_text(
        "nodes:\n"
        "- {id: list, country: se, url: 'socks5h://10.0.0.1:1080'}\n"
        "- {id: se-2, country: Atlantis, url: 'socks5h://10.0.0.1:1080'}\n"
        "- {id: se-3, country: se, url: 'ftp://10.0.0.1'}\n"
        "- {id: se-4, country: se, url: 'socks5h://10.0.0.1', via: nobody}\n"
        "balancing: {strategy: fastest}\n"
        "rules:\n- {name: a, condition: {colour: red}, action: {deny: true}}\n"
        "api: {listen: ':8080'}\n"
    )
    refused = proxywatch("balancer", "run", "-c", str(conf))
    lines = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert len(lines) == 7, refused.stderr
    for words in (
        "nodes[0].id",
        "nodes[1].country",
        "nodes[2].url",
        "nobody",
        "fastest",
        "colour",
        "api.listen",
    ):
        assert sum(words in line for line in lines) == 1, (words, lines)


@pytest.mark.parametrize(
    ("relay", "words"),
    [("{listen: ':1080'}", "without users"), ("{listen: '0.0.0.0:1080'}", "without users")],
)
def test_a_relay_for_everybody_is_refused_at_the_start(tmp_path: Path, relay: str, words: str) -> None:
    """Unless it is said on purpose."""
    conf = tmp_path / "b.yaml"
    conf.write_text(f"relay: {relay}\n")
    refused = proxywatch("balancer", "check", "--offline", "-c", str(conf))
    assert refused.returncode == 2
    assert words in refused.stderr


def test_the_documented_environment_wins_over_the_file(tmp_path: Path) -> None:
    """The names that other installations use, and our own."""
    with ExitStack() as stack:
        running = stack.enter_context(
            balancer(
                tmp_path,
                {"balancing": {"strategy": "random"}},
                environ={
                    "LOAD_BALANCER_STRATEGY": "round_robin",
                    "PROXYWATCH_BALANCER_COLLECT_INTERVAL": "7s",
                },
            )
        )
        assert running.api("/api/load-balancer/strategy")[1]["strategy"] == "round_robin"
        assert running.api("/api/config")[1]["collect"]["interval"] == "7s"


def test_check_best_and_explain(bed: Bed) -> None:
    """What is wrong with a node and how to fix it; the best one and why; a choice in words."""
    bed.dantes["se-2"].stop()
    bed.sidecars["de-1"].country = "fr"
    checked = proxywatch("balancer", "check", "-c", str(bed.running.conf))
    assert checked.returncode == 1
    assert "fault  se-2" in checked.stdout
    assert "Nothing listens there" in checked.stdout
    assert "its exit is in fr, not in de" in checked.stdout
    assert "ok     se-1" in checked.stdout
    best = proxywatch("balancer", "best", "se", "--url", bed.running.http)
    assert best.stdout.startswith("se-")
    assert "latency" in best.stdout
    assert json.loads(proxywatch("balancer", "best", "se", "--json", "--url", bed.running.http).stdout)
    assert "No healthy nodes" in proxywatch("balancer", "best", "jp", "--url", bed.running.http).stderr
    assert bed.served("x-country-se")
    assert "a request for se" in proxywatch("balancer", "explain", "last", "--url", bed.running.http).stdout


def test_decisions_are_kept_in_a_file_and_replayed(tmp_path: Path) -> None:
    """Every finished one, also those of the last second before the end."""
    journal = tmp_path / "decisions"
    with ExitStack() as stack:
        bed = Bed(stack, tmp_path, journal={"file": str(journal)})
        assert all(bed.served("x-country-se") for _ in range(5))
        decisions = "/api/load-balancer/decisions"
        bed.running.until("they are over", lambda: all(it["reason"] for it in bed.running.api(decisions)[1]))
        bed.running.process.terminate()
        assert bed.running.process.wait(10) == 0
    replayed = proxywatch("balancer", "replay", str(journal), "--strategy", "least_connections")
    assert replayed.stdout.startswith("5 of 5 the same"), replayed.stdout + replayed.stderr
    assert bed.target.url not in journal.read_text()


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_objects_to_nothing(bed: Bed) -> None:
    """The whole exposition of a balancer that has served."""
    assert bed.served("x-country-se")
    text = str(bed.running.api("/metrics")[1])
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
