"""The units, judged by systemd's own tools without a running systemd."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory of units in which the program is where the unit seeks it."""
    unit = (UNITS / "proxywatch.service").read_text()
    (tmp_path / "proxywatch.service").write_text(
        unit.replace("/opt/proxywatch/.venv/bin/proxywatch", "/bin/true")
    )
    return tmp_path


def _analyze(directory: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{directory}:"}
    command = ("systemd-analyze", *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_unit_has_no_mistake(directory: Path) -> None:
    """`systemd-analyze verify` knows every line of it."""
    done = _analyze(directory, "verify", directory / "proxywatch.service")
    ours = [line for line in done.stderr.splitlines() if "proxywatch" in line]
    assert (done.returncode, ours) == (0, [])


def test_unit_is_hardly_exposed(directory: Path) -> None:
    """`systemd-analyze security` gives it 1.7 of 10 at most: a line less, and it is more."""
    done = _analyze(
        directory, "security", "--offline=yes", "--threshold=17", directory / "proxywatch.service"
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"Overall exposure level .*: [01]\.\d OK", done.stdout)
    unit = set((UNITS / "proxywatch.service").read_text().splitlines())
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK" in unit
    # What weighs little there, or follows from DynamicUser, is said all the same.
    assert {"NoNewPrivileges=yes", "ProtectSystem=strict", "MemoryDenyWriteExecute=yes"} <= unit


def test_unit_comes_back_and_goes_on() -> None:
    """For ever, with its state; Debian's danted may write the log that it reads."""
    unit = (UNITS / "proxywatch.service").read_text().splitlines()
    assert {"Restart=always", "StartLimitIntervalSec=0", "StateDirectory=proxywatch"} <= set(unit)
    dropin = (UNITS / "danted.service.d/proxywatch.conf").read_text().splitlines()
    settings = [line for line in dropin if line and line[0] not in "#["]
    assert settings == [
        "StartLimitIntervalSec=0",
        "ReadWritePaths=/var/log",
        "ExecStart=",
        "ExecStart=/usr/sbin/danted -f /etc/danted.conf",
        "Restart=on-failure",
        "RestartSec=5",
    ]


def test_rotation_sends_dante_no_signal() -> None:
    """It would end when its device is away: the log is copied and emptied, and the copy stays readable."""
    lines = [line.strip() for line in (UNITS / "danted.logrotate").read_text().splitlines()]
    assert {"copytruncate", "delaycompress"} <= set(lines)
    assert not [line for line in lines if "postrotate" in line or "create" in line or "kill" in line]


def test_dropin_adds_one_capability_alone(directory: Path) -> None:
    """The drop-in for the kernel's WireGuard is a matter of CAP_NET_ADMIN."""
    dropin = directory / "proxywatch.service.d"
    dropin.mkdir()
    shutil.copy(UNITS / "proxywatch.service.d/kernel-wireguard.conf", dropin)
    done = _analyze(directory, "verify", directory / "proxywatch.service")
    assert [line for line in done.stderr.splitlines() if "proxywatch" in line] == []
    lines = (dropin / "kernel-wireguard.conf").read_text().splitlines()
    settings = [line for line in lines if line and line[0] not in "#["]
    assert settings == ["CapabilityBoundingSet=CAP_NET_ADMIN", "AmbientCapabilities=CAP_NET_ADMIN"]


def test_log_is_made_for_the_group_that_the_unit_joins(tmp_path: Path) -> None:
    """Systemd-tmpfiles makes the log as the unit needs it; rotation leaves its owner and mode alone."""
    if shutil.which("systemd-tmpfiles") is None or os.geteuid() != 0:
        pytest.skip("no systemd-tmpfiles, or not root")
    for file in ("passwd", "group"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        shutil.copy(f"/etc/{file}", tmp_path / "etc")
    command = ("systemd-tmpfiles", f"--root={tmp_path}", "--create", UNITS / "proxywatch.tmpfiles.conf")
    subprocess.run(command, check=True)
    log = tmp_path / "var/log/danted.log"
    assert (log.stat().st_mode & 0o777, log.group()) == (0o640, "adm")
    assert "SupplementaryGroups=adm" in (UNITS / "proxywatch.service").read_text()


@pytest.mark.slow
def test_exporter_lives_with_what_the_unit_forbids(tmp_path: Path) -> None:
    """A real run makes no system call but those allowed, and no memory that is writable and executable."""
    if shutil.which("strace") is None:
        pytest.skip("no strace")
    trace = tmp_path / "trace"
    environment = os.environ | {
        "PROXYWATCH_HTTP_LISTEN": "127.0.0.1:0",
        "PROXYWATCH_HEALTH_LISTEN": "127.0.0.1:0",
    }
    environment |= {"PROXYWATCH_SESSIONS_CHECKPOINT": str(tmp_path / "sessions.json")}
    command = (
        "strace",
        "-f",
        "-qq",
        "-o",
        trace,
        "timeout",
        "-s",
        "TERM",
        "12",
        sys.executable,
        "-m",
        "proxywatch",
    )
    done = subprocess.run([*command, "run"], env=environment, capture_output=True, text=True, check=False)
    assert "msg=listening" in done.stderr
    ours = [line.partition(" ")[2].strip() for line in trace.read_text().splitlines()]
    made = {match[1] for line in ours if (match := re.match(r"([a-z0-9_]+)\(", line))}
    assert len(made) > 30
    assert made - {"execve"} <= _calls("@system-service") - _calls("@privileged") - _calls("@resources")
    assert not [line for line in ours if "PROT_WRITE|PROT_EXEC" in line]


def _calls(group: str) -> set[str]:
    """The system calls of one of systemd's groups, and of the groups in it."""
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    words = {line.strip() for line in listed.stdout.splitlines()[1:] if not line.strip().startswith("#")} - {
        ""
    }
    return {call for word in words for call in (_calls(word) if word.startswith("@") else {word})}
