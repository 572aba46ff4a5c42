"""The images, built from their Dockerfiles and run: alone, and as the compose file has them."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from support import engine, runbooks, stage
from support.engine import podman
from support.stage import Stage, wait

pytestmark = [pytest.mark.root, pytest.mark.slow]
SIDECAR, PROXY = "localhost/proxywatch:dev", "localhost/proxywatch-proxy:dev"
LOCKED = ("--network", "none", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")


@pytest.fixture(scope="module", autouse=True)
def images() -> None:
    """Built once."""
    engine.prepare()
    stage.build()


@pytest.fixture(scope="module")
def up() -> Iterator[Stage]:
    """The compose file, running and ready."""
    with stage.running() as running:
        wait("readiness", lambda: running.ok("proxywatch", "/usr/bin/proxywatch", "healthcheck", "/readyz"))
        yield running


@pytest.fixture
def container(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for a container that is removed in the end."""
    name = f"pw-{request.node.name.replace('[', '-').strip(']')[:40]}"
    podman("rm", "-f", name, check=False)
    yield name
    podman("rm", "-f", "-t", "1", name, check=False)


def test_sidecar_runs_without_any_right_and_ends_when_told(container: str) -> None:
    """Nobody's user, no capability, nothing writable, 64 MiB; SIGTERM ends it with 0, no init needed."""
    podman("run", "-d", "--name", container, *LOCKED, "--memory", "64m", SIDECAR)
    wait(
        "health", lambda: "ok" in podman("exec", container, "/usr/bin/proxywatch", "healthcheck", check=False)
    )
    assert podman("healthcheck", "run", container) == ""
    assert podman("top", container, "huser", "capeff").split()[-2:] == ["65532", "none"]
    podman("stop", "-t", "8", container)
    assert podman("inspect", container, "--format", "{{.State.ExitCode}}").strip() == "0"


def test_sidecar_has_no_shell_and_is_small() -> None:
    """Whoever gets into it finds an interpreter of Python and no tool."""
    with pytest.raises(RuntimeError, match="no such file"):
        podman("run", "--rm", *LOCKED, "--entrypoint", "/bin/sh", SIDECAR, "-c", "true")
    size = int(podman("image", "inspect", SIDECAR, "--format", "{{.Size}}"))
    print(f"sidecar image: {size / 1e6:.0f} MB")
    assert size < 110e6


def test_sidecar_says_unhealthy_when_nobody_answers() -> None:
    """The health check fails where no exporter runs."""
    with pytest.raises(RuntimeError, match="no answer on"):
        podman("run", "--rm", *LOCKED, SIDECAR, "healthcheck")


def test_sidecar_trusts_the_web_and_keeps_its_packages_on_record() -> None:
    """TLS has its certificates, and scanners find what Debian's packages are in it."""
    script = "import ssl, pathlib, pycurl; print(len(ssl.create_default_context().get_ca_certs()) > 100,"
    script += "'libssl3' in [p.name for p in pathlib.Path('/var/lib/dpkg/status.d').iterdir()])"
    said = podman("run", "--rm", *LOCKED, "--entrypoint", "/usr/bin/python3", SIDECAR, "-c", script)
    assert said.split() == ["True", "True"]


def test_sidecar_finds_all_well_in_the_stage(up: Stage) -> None:
    """The doctor, in the image, beside a real tunnel and a real Dante, has nothing to fix."""
    said = up.exec("proxywatch", "/usr/bin/proxywatch", "check", "-c", "/etc/proxywatch/proxywatch.yaml")
    assert said.endswith("all is well")
    assert "wg0 is read by uapi: 1 peer" in said
    assert "Dante is process" in said


def test_everything_that_clients_do_is_counted_in_the_stage(up: Stage) -> None:
    """Requests that succeed, that the rules or the destination refuse; children and their slots."""
    wanted = (
        "proxy_requests_successful_total",
        'proxy_request_failures_total{blame="policy",reason="socks_rule"}',
        'proxy_request_failures_total{blame="destination",reason="refused"}',
        'dante_child_slots{child="io",state="free"}',
        "proxy_download_speed_mbps",
        "proxy_latency_ms",
    )

    def counted() -> bool:
        metrics = up.metrics()
        return all(metrics.get(name, 0) > 0 for name in wanted)

    wait("all counts", counted, 60)
    metrics = up.metrics()
    assert metrics["vpn_connection_status"] == 1
    assert metrics['dante_child_processes{child="unknown"}'] == 0
    assert metrics["dante_log_unparsed_lines_total"] == 0


def test_prometheus_scrapes_the_stage(up: Stage) -> None:
    """The compose file's Prometheus, with its configuration, has the series."""
    query = quote('vpn_connection_status{proxy_name="golden-crab"}')

    def found() -> bool:
        answer = json.loads(up.fetch("prometheus", f"http://SERVICE:9090/api/v1/query?query={query}") or "{}")
        return bool(answer.get("data", {}).get("result"))

    wait("series in Prometheus", found, 45)


def test_socket_about_the_peers_tells_no_secret_and_obeys_nobody(up: Stage) -> None:
    """It answers a question without keys that open anything, and refuses to set."""
    ask = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/tunnel/wg0.sock');"
    ask += "s.sendall(sys.argv[1].encode() + b'\\n\\n');"
    ask += "print(b''.join(iter(lambda: s.recv(4096), b'')).decode())"
    told = up.exec("proxywatch", "/usr/bin/python3", "-c", ask, "get=1")
    assert "public_key=" in told
    assert "errno=0" in told
    assert "private" not in told
    assert "preshared" not in told
    assert "errno=-22" in up.exec("proxywatch", "/usr/bin/python3", "-c", ask, "set=1\nlisten_port=1")


def test_first_look_of_every_runbook_can_be_typed(up: Stage) -> None:
    """As the pages have it, with the short names that their index sets; all of it only looks."""
    names = f"""
        P=golden-crab; LOG=/var/log/dante/danted.log; CONF=/etc/proxywatch/proxywatch.yaml
        pw() {{ podman exec {up.name("proxywatch")} proxywatch "$@"; }}
        px() {{ podman exec {up.name("proxy")} "$@"; }}
        set -o pipefail
    """
    lines = sorted({line for page in runbooks.PAGES for line in runbooks.commands(page)})
    said = {line: engine.run("bash", "-c", f"{names}{line}; echo ended: $?", check=False) for line in lines}
    failed = {line: words for line, words in said.items() if not words.endswith("ended: 0\n")}
    nothing = {line for line in lines if line.startswith("px grep")}  # which a log that is well gives
    assert failed.keys() - nothing <= {"px getent hosts example.org"}, failed  # the stage has no name server
    assert not re.findall(r".*(?:not found|Usage).*", "".join(said.values()))


def test_helm_test_finds_a_proxy_well(up: Stage) -> None:
    """The chart's own test: another container asks the sidecar, and fails where nobody answers."""
    ask = ("run", "--rm", "--pod", f"pod_{up.project}", "--read-only", "--cap-drop", "all")
    where = f"PROXYWATCH_HEALTH_LISTEN={up.address('proxy')}:"
    asked = ("healthcheck", "/readyz")
    assert "+ tunnel" in podman(*ask, "-e", f"{where}9999", SIDECAR, *asked)
    with pytest.raises(RuntimeError, match="no answer on"):
        podman(*ask, "-e", f"{where}9998", SIDECAR, *asked)


def test_log_survives_rotation(up: Stage) -> None:
    """Moved away and reopened as the proxy does it: nothing lost, the file still the sidecar's to read."""
    before = up.metrics()
    rotate = "cd /var/log/dante && mv danted.log danted.log.1 && (umask 027; : > danted.log)"
    rotate += " && kill -HUP $(cat /run/dante/danted.pid)"
    up.exec("proxy", "bash", "-c", rotate)
    wait("rotation", lambda: up.metrics()["dante_log_rotations_total"] > before["dante_log_rotations_total"])
    count = "proxy_requests_successful_total"
    after = up.metrics()[count]
    assert after >= before[count]
    wait("requests after it", lambda: up.metrics()[count] > after, 30)


def test_only_dante_and_its_resolver_go_by_the_tunnel(up: Stage) -> None:
    """What comes from wg0's address, and what asks the tunnel's resolver; all else leaves as it came."""
    assert "dev wg0" in up.exec("proxy", "ip", "route", "get", "203.0.113.10", "from", "10.64.0.2")
    assert "dev wg0" in up.exec("proxy", "ip", "route", "get", "10.64.0.1")
    assert "dev eth0" in up.exec("proxy", "ip", "route", "get", "203.0.113.10")


def test_traffic_goes_nowhere_without_the_tunnel_and_the_proxy_recovers(up: Stage) -> None:
    """A device that is down leaks nothing to the host's way out; wg0 back up, requests succeed again."""
    where = ("ip", "route", "get", "203.0.113.10", "from", "10.64.0.2")
    assert "dev wg0" in up.exec("proxy", *where)
    up.exec("proxy", "ip", "link", "set", "wg0", "down")
    assert not up.ok("proxy", *where)
    wait("a dead tunnel", lambda: not up.ok("proxywatch", "/usr/bin/proxywatch", "healthcheck", "/vpnz"))
    up.exec("proxy", "bash", "-c", "ip link set wg0 up && ip route replace default dev wg0 table 51820")
    wait("the tunnel again", lambda: up.ok("proxywatch", "/usr/bin/proxywatch", "healthcheck", "/vpnz"))


def test_proxy_ends_when_its_tunnel_does(up: Stage) -> None:
    """Last, as it ends the stage: a lost wireguard-go is no running proxy."""
    up.exec(
        "proxy",
        "bash",
        "-c",
        "kill $(cat /proc/[0-9]*/stat | awk '$2 == \"(wireguard-go)\" { print $1; exit }')",
    )
    wait("end", lambda: _state(up.name("proxy")).startswith("exited"))
    assert _state(up.name("proxy")) == "exited 1"


def _state(container: str) -> str:
    return podman("inspect", container, "--format", "{{.State.Status}} {{.State.ExitCode}}").strip()


def test_users_log_in_by_a_file_of_hashes(container: str, tmp_path: Path) -> None:
    """With /etc/dante/users, a right password passes, a wrong one and an unknown user do not."""
    keys = engine.run("bash", "-c", "wg genkey; wg genkey | wg pubkey").split()
    tunnel = f"[Interface]\nPrivateKey={keys[0]}\nAddress=10.64.0.2/32\n[Peer]\nPublicKey={keys[1]}\n"
    (tmp_path / "wg0.conf").write_text(tunnel + "Endpoint=127.0.0.1:9\nAllowedIPs=0.0.0.0/0\n")
    digest = engine.run("openssl", "passwd", "-6", "right").strip()
    (tmp_path / "users").write_text(f"alice:{digest}\n")
    mounts = (
        "-v",
        f"{tmp_path}/wg0.conf:/etc/wireguard/wg0.conf:ro",
        "-v",
        f"{tmp_path}/users:/etc/dante/users:ro",
    )
    rights = ("--cap-drop", "all", "--cap-add", "net_admin,setuid,setgid", "--device", "/dev/net/tun")
    writable = ("/tmp", "/run/dante", "/run/wireguard", "/run/tunnel", "/var/log/dante")
    places = ("--read-only", *(word for path in writable for word in ("--tmpfs", path)))
    environment = ("-e", "WIREGUARD=userspace")
    podman("run", "-d", "--name", container, *rights, *places, *environment, *mounts, PROXY)
    address = podman("inspect", container, "--format", "{{.NetworkSettings.IPAddress}}").strip()
    wait("proxy", lambda: _login(address, "alice", "right") is not None)
    assert _login(address, "alice", "right") == 0
    assert _login(address, "alice", "wrong") != 0
    assert _login(address, "bob", "right") != 0


def _login(address: str, user: str, password: str) -> int | None:
    """The status that SOCKS5's log-in ends with; 255 when the proxy hangs up, None when none is there."""
    try:
        with socket.create_connection((address, 1080), 5) as client:
            client.sendall(b"\x05\x01\x02")
            if client.recv(2) != b"\x05\x02":
                return 255
            client.sendall(
                bytes((1, len(user))) + user.encode() + bytes((len(password),)) + password.encode()
            )
            return (client.recv(2) or b"\x01\xff")[-1]
    except OSError:
        return None
