"""The commands around the daemon: the demo, the doctor, the reference."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from proxywatch import __version__
from support.contract import NEEDS_WIREGUARD, PART_A
from testbed.danted import danted
from testbed.exporter import proxywatch
from testbed.target import target

ROOT = Path(__file__).parents[2]
SHOWN = PART_A - NEEDS_WIREGUARD


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        return str(response.read().decode())


def series(body: str) -> set[str]:
    """Names of series that have a sample."""
    return {line.partition("{")[0] for line in body.splitlines() if line and not line.startswith("#")}


def sample(text: str) -> list[str]:
    """The series that the README's command prints, in its order, without their values."""
    return re.findall(r'^ *(proxy_[a-z_]*\{proxy_name="demo"\}) [-+.e0-9]+$', text, re.MULTILINE)


def test_the_demo_shows_everything_within_forty_seconds_and_ends_with_an_interrupt(tmp_path: Path) -> None:
    """Every series of part A that a machine without WireGuard can have, from a real Dante, with failures."""
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "proxywatch", "demo"], stdout=file, stderr=file)
    try:
        start = time.monotonic()
        metrics = health = None
        body = ""
        while time.monotonic() - start < 40:
            text = out.read_text()
            metrics = re.search(r"^metrics +(\S+)$", text, re.MULTILINE)
            health = re.search(r"^health +(\S+)$", text, re.MULTILINE)
            body = read(metrics[1]) if metrics else ""
            failed = re.search(r"proxy_requests_failed_total\S* ([1-9])", body)
            if series(body) >= SHOWN and failed:
                break
            time.sleep(0.2)
        assert series(body) >= SHOWN, out.read_text()
        assert "a real Dante" in out.read_text()
        assert "fails on purpose" in out.read_text()
        assert sample(body)[:17] == sample((ROOT / "README.md").read_text()), "as its `head -17` prints them"
        assert health
        assert "+ latency" in read(health[1])
        assert "<html" in read(metrics[1].replace("/metrics", "/")) if metrics else False
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(10)
    assert status == 0
    assert "Traceback" not in out.read_text()


def test_the_demo_shows_the_balancer_too(tmp_path: Path) -> None:
    """Every address in one place; a client gets through by country; both end with one interrupt."""
    out = tmp_path / "out"
    with out.open("wb") as file:
        command = [sys.executable, "-m", "proxywatch", "demo", "--balancer"]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        got = None
        while time.monotonic() < deadline and not (got and "200 OK" in got):
            time.sleep(0.2)
            found = re.search(r"^  curl (-x \S+ \S+) -i$", out.read_text(), re.MULTILINE)
            if found:
                done = subprocess.run(
                    ["curl", "-s", "-m", "5", "-i", *found[1].split()],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                got = done.stdout
        assert got, out.read_text()
        assert "200 OK" in got
        text = out.read_text()
        for name in ("status page", "balancer", "relay", "API", "health"):
            assert re.search(rf"^{name} +\S+://", text, re.MULTILINE), text
        stats = re.search(r"^API +(\S+)", text, re.MULTILINE)
        assert stats
        assert "nodes" in read(stats[1])
        assert "Traceback" not in text
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(20)
    assert status == 0


def test_the_doctor_is_content_where_all_is_well(tmp_path: Path) -> None:
    """Exit status 0, a line per collector, nothing to fix."""
    with target() as site, danted(tmp_path) as proxy:
        conf = tmp_path / "proxywatch.yaml"
        conf.write_text(
            f"proxy: {{url: 'socks5h://127.0.0.1:{proxy.port}'}}\n"
            f"latency: {{targets: ['http://127.0.0.1:{site.port}/get']}}\n"
            f"speed: {{url: 'http://127.0.0.1:{site.port}/bytes/{{bytes}}'}}\n"
            f"sessions: {{log: '{proxy.log}'}}\nsockets: {{port: {proxy.port}}}\n"
            f"children: {{pid_file: '{proxy.pid_file}'}}\n"
            "exit: {enabled: false}\ninterface: {name: lo}\nwireguard: {enabled: false}\n"
        )
        result = proxywatch("check", "-c", str(conf))
    assert result.returncode == 0, result.stdout
    assert result.stdout.endswith("all is well\n")
    assert "FAULT" not in result.stdout
    for collector in ("latency", "speed", "sessions", "sockets", "children", "active", "interface"):
        assert re.search(rf"^{collector} +ok", result.stdout, re.MULTILINE), result.stdout


def test_the_doctor_says_what_is_missing_and_how_to_fix_it(tmp_path: Path) -> None:
    """Exit status 1; no Dante, no log, no tunnel, each with what to do."""
    result = proxywatch(
        "check",
        PROXYWATCH_PROXY_URL="socks5h://127.0.0.1:1",
        PROXYWATCH_SOCKETS_PORT="1",
        PROXYWATCH_SESSIONS_LOG=str(tmp_path / "none.log"),
        PROXYWATCH_WIREGUARD_NAME="wg-none",
        PROXYWATCH_INTERFACE_NAME="wg-none",
        PROXYWATCH_EXIT_DIRECT="false",
        PROXYWATCH_CHILDREN_NAMES="[no-such-server]",
    )
    assert result.returncode == 1
    for collector in ("latency", "sessions", "sockets", "interface", "wireguard"):
        assert re.search(rf"^{collector} +FAULT .+\n +-> .+", result.stdout, re.MULTILINE), result.stdout
    assert "to fix" in result.stdout.splitlines()[-1]
    assert result.stdout.count("interface: {enabled: false}") == 2, "beside the tunnel's own switch"
    assert result.stderr == "", "no line of the log"


def test_a_file_is_validated_without_a_look_at_the_machine(tmp_path: Path) -> None:
    """No probe is made, whatever the settings name; a fault is one line with its place and exit status 2."""
    conf = tmp_path / "proxywatch.yaml"
    with target() as site:
        conf.write_text(f"latency: {{targets: ['http://127.0.0.1:{site.port}/get']}}\n")
        good = proxywatch("check", "--offline", "-c", str(conf))
        assert site.peers == []
    assert (good.returncode, good.stdout) == (0, f"the settings in {conf} are valid\n")
    conf.write_text("latency: {interval: fast}\nproxy: {password: [8642097531]}\n")
    bad = proxywatch("check", "--offline", "-c", str(conf), PROXYWATCH_LATENY_TIMEOUT="1s")
    assert bad.returncode == 2
    lines = bad.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        "environment PROXYWATCH_LATENY_TIMEOUT", "proxywatch.yaml", "proxywatch.yaml",
    ]  # fmt: skip
    assert "8642097531" not in bad.stderr


def test_a_fifo_in_place_of_the_settings_hangs_nothing(tmp_path: Path) -> None:
    """It is refused at once."""
    os.mkfifo(tmp_path / "fifo")
    done = proxywatch("check", "--offline", "-c", str(tmp_path / "fifo"))
    assert (done.returncode, done.stderr.strip()) == (2, f"proxywatch: {tmp_path}/fifo: not a regular file")


def test_what_others_wrote_is_escaped(tmp_path: Path) -> None:
    """Names of files and lines of logs reach the terminal as text."""
    done = proxywatch("log", str(tmp_path / "\x1b[2J\x07"))
    assert "\x1b" not in done.stderr + done.stdout
    assert r"\x1b[2J\x07" in done.stderr
    log = tmp_path / "danted.log"
    log.write_text("not a line \x1b[31m of \u202e anybody\n")
    done = proxywatch("log", str(log))
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_a_sample_file_can_be_used(tmp_path: Path) -> None:
    """As it is."""
    conf = tmp_path / "proxywatch.yaml"
    conf.write_text(proxywatch("describe", "config", "--yaml").stdout)
    assert proxywatch("check", "--offline", "-c", str(conf)).returncode == 0


@pytest.mark.parametrize("what", ["metrics", "config"])
def test_describe_prints_the_reference(what: str) -> None:
    """The same text as the page."""
    page = Path(__file__).parents[2] / "docs" / {"metrics": "metrics.md", "config": "settings.md"}[what]
    assert proxywatch("describe", what).stdout == page.read_text()


def test_the_version() -> None:
    """As packages have it."""
    assert __version__ in proxywatch("--version").stdout
