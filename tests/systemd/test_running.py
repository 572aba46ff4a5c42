"""The units under a real systemd, installed by the lines of docs/installing.md, beside Debian's danted."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import engine
from support.engine import podman
from support.stage import wait

ROOT = Path(__file__).parents[2]
HOST, IMAGE = "pw-systemd", "localhost/proxywatch-systemd:dev"
NET_ADMIN = 1 << 12
pytestmark = [pytest.mark.root, pytest.mark.slow]

_HOST = """\
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \\
    curl dante-server dbus logrotate python3 python3-venv systemd && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/proxywatch
COPY requirements.lock ./
RUN python3 -m venv .venv \\
 && .venv/bin/pip install -q --no-cache-dir --only-binary :all: --require-hashes -r requirements.lock
COPY . ./
RUN ln -s /opt/proxywatch/src/proxywatch .venv/lib/python3.11/site-packages/ \\
 && install -m 755 program .venv/bin/proxywatch && cp danted.conf /etc/danted.conf
CMD ["/lib/systemd/systemd"]
"""
_PROGRAM = "#!/opt/proxywatch/.venv/bin/python\nfrom proxywatch.cli import main\nmain()\n"
_DANTE = """\
logoutput: /var/log/danted.log
internal: 127.0.0.1 port = 1080
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0/0 to: 0/0 log: connect disconnect error }
socks pass { from: 0/0 to: 0/0 log: connect disconnect error }
"""


def lines() -> str:
    """What the page tells to type, but for fetching the project."""
    page = (ROOT / "docs/installing.md").read_text()
    section = page[page.index("## systemd") : page.index("## Docker")]
    block = re.findall(r"^ {4}(\S.*)$", section, re.MULTILINE)
    typed = [line for line in block if "apt-get" not in line and "git clone" not in line]
    assert "enable --now proxywatch" in typed[-1]
    return " && ".join(typed)


def told(command: str) -> str:
    """What a command on the host prints."""
    return podman("exec", HOST, "bash", "-c", command, timeout=60).strip()


@pytest.fixture(scope="module", autouse=True)
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A host that has just been told to run it."""
    engine.prepare()
    context = tmp_path_factory.mktemp("host")
    (context / "Dockerfile").write_text(_HOST)
    (context / "danted.conf").write_text(_DANTE)
    (context / "program").write_text(_PROGRAM)
    shutil.copy(ROOT / "requirements.lock", context)
    shutil.copytree(ROOT / "systemd", context / "systemd")
    shutil.copytree(
        ROOT / "src/proxywatch", context / "src/proxywatch", ignore=shutil.ignore_patterns("__pycache__")
    )
    engine.build(str(context / "Dockerfile"), IMAGE, context)
    podman("rm", "-f", "-t", "1", HOST, check=False)
    rights = ("--systemd=always", "--cap-add", "SYS_ADMIN,NET_ADMIN")
    podman("run", "-d", "--name", HOST, "--network", "none", *rights, IMAGE)
    try:
        wait("systemd", lambda: re.search("running|degraded", told("systemctl is-system-running || true")))
        told(lines())
        yield
    finally:
        podman("rm", "-f", "-t", "1", HOST, check=False)


def metric(name: str) -> float | None:
    """A series of the exporter's."""
    found = re.search(
        rf"^{name}(?:{{[^}}]*}})? (\S+)$", told("curl -s 127.0.0.1:9090/metrics || true"), re.MULTILINE
    )
    return float(found[1]) if found else None


def status(key: str) -> str:
    """A line of what the kernel says of the running exporter."""
    process = "$(systemctl show proxywatch -p MainPID --value)"
    return told(f"sed -n 's/^{key}:[[:space:]]*//p' /proc/{process}/status")


def requests(count: int) -> Callable[[], bool]:
    """Whether so many requests have been counted."""
    return lambda: (metric("proxy_requests_successful_total") or 0) >= count


def ask() -> None:
    """One request through the proxy, to something that is there."""
    told("curl -sf -x socks5h://127.0.0.1:1080 http://127.0.0.1:9999/livez")


def test_it_runs_as_nobody_in_particular_without_any_right() -> None:
    """The kernel agrees with the unit."""
    wait("the unit", lambda: told("systemctl is-active proxywatch || true") == "active")
    assert status("Uid").split()[0] not in {"0", "65534"}
    assert {status(each) for each in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status("NoNewPrivs"), status("Seccomp")) == ("1", "2")
    print(told("systemd-analyze security proxywatch --no-pager | tail -n 1"))


def test_it_counts_what_debians_danted_logs() -> None:
    """Debian's unit with the drop-in: the log can be written, and be read by group; titles are whole."""
    ask()
    wait("a request", requests(1))
    assert metric("dante_log_unparsed_lines_total") == 0
    wait("children", lambda: metric('dante_child_slots{child="negotiate",proxy_name="[^"]*",state="free"}'))


def test_nothing_is_lost_when_logrotate_comes() -> None:
    """By the file that is installed with it; Dante gets no signal and its sessions go on."""
    before = metric("proxy_requests_successful_total") or 0
    mother = told("systemctl show danted -p MainPID --value")
    told("logrotate -f /etc/logrotate.d/danted")
    assert told("head -c 1 /var/log/danted.log | od -An -c") != "\\0"  # no hole: it is written at its end
    ask()
    wait("the next request", requests(int(before) + 1))
    assert told("ls /var/log/danted.log.1")
    assert told("stat -c '%a %U %G' /var/log/danted.log") == "640 root adm"
    assert told("systemctl show danted -p MainPID --value") == mother


def test_dante_comes_back_when_it_ends() -> None:
    """As it does when its device is away."""
    told("systemctl kill -s KILL --kill-whom=main danted")
    wait("a restart", lambda: told("systemctl show danted -p NRestarts --value") != "0")
    wait("Dante", lambda: told("systemctl is-active danted || true") == "active")


def test_reload_reads_the_settings_and_survives_a_fault() -> None:
    """`systemctl reload`; a fault is told, and the exporter goes on."""
    told("echo 'latncy: {}' > /etc/proxywatch.yaml && systemctl reload proxywatch")
    wait("a refusal", lambda: metric("proxywatch_config_last_reload_successful") == 0)
    told("echo 'proxy: {name: golden-crab}' > /etc/proxywatch.yaml && systemctl reload proxywatch")
    wait("the new settings", lambda: metric("proxywatch_config_last_reload_successful") == 1)


def test_what_is_killed_comes_back_and_goes_on_counting() -> None:
    """The checkpoint is in the unit's own directory of state."""
    before = metric("proxy_requests_successful_total") or 0
    wait("a checkpoint", lambda: "sessions.json" in told("ls /var/lib/private/proxywatch"))
    told("systemctl kill -s KILL proxywatch")
    wait("a restart", lambda: told("systemctl show proxywatch -p NRestarts --value") == "1")
    wait("the exporter", lambda: metric("proxy_info") == 1)
    ask()
    wait("the counts", requests(int(before) + 1))


def test_dropin_for_the_kernels_wireguard_gives_one_capability() -> None:
    """And the kernel agrees that it is NET_ADMIN alone."""
    told("mkdir -p /etc/systemd/system/proxywatch.service.d"
         " && cp systemd/proxywatch.service.d/kernel-wireguard.conf /etc/systemd/system/proxywatch.service.d/"
         " && systemctl daemon-reload && systemctl restart proxywatch")  # fmt: skip
    wait("the unit", lambda: told("systemctl is-active proxywatch || true") == "active")
    assert [int(status(each), 16) for each in ("CapEff", "CapBnd")] == [NET_ADMIN, NET_ADMIN]


def test_it_stops_when_it_is_told() -> None:
    """By itself, not by the knife."""
    wait("the exporter", lambda: metric("proxy_info") == 1)
    told("systemctl stop proxywatch")
    assert told("systemctl show proxywatch -p Result,ExecMainStatus --value").split() == ["success", "0"]
