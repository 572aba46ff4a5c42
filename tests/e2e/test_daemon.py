"""The exporter as a process beside a real Dante: what it tells, how it bears faults, how it ends."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from support.contract import NEEDS_WIREGUARD, PART_A
from testbed.danted import danted, free_port, rule
from testbed.exporter import Exporter, exporter, proxywatch
from testbed.target import target


def settings(port: int, site: int, log: Path | str, **more: object) -> dict[str, object]:
    """Everything on loopback, in quick succession."""
    return {
        "proxy": {"name": "golden-crab", "url": f"socks5h://127.0.0.1:{port}"},
        "latency": {"interval": "1s", "timeout": "500ms", "targets": [f"http://127.0.0.1:{site}/get"]},
        "speed": {"interval": "3s", "url": f"http://127.0.0.1:{site}/bytes/{{bytes}}", "bytes": "200kB"},
        "sessions": {"log": str(log), "start": "beginning"},
        "sockets": {"port": port},
        "exit": {"enabled": False},
        "wireguard": {"enabled": False},
        **more,
    }


@contextmanager
def beside_dante(directory: Path, **more: object) -> Iterator[tuple[Exporter, int, int]]:
    """A target, a real Dante, the exporter: yields it with the ports of the proxy and the target."""
    with (
        target() as site,
        danted(
            directory, rules=rule("socks block", to="127.0.0.9/32", log="connect disconnect error")
        ) as proxy,
        exporter(directory, settings(proxy.port, site.port, proxy.log, **more)) as running,
    ):
        yield running, proxy.port, site.port


def curl(proxy: int, url: str, *options: str) -> int:
    """Its exit status."""
    command = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-m",
        "5",
        "-x",
        f"socks5h://127.0.0.1:{proxy}",
        *options,
        url,
    ]
    return subprocess.run(command, check=False).returncode


def test_every_series_of_part_a_is_there_and_right(tmp_path: Path) -> None:
    """Within seconds, from a real Dante; clients and probes count together, as the contract says."""
    with beside_dante(
        tmp_path, sessions={"log": str(tmp_path / "danted.log"), "start": "beginning", "include_self": False}
    ) as (
        running,
        proxy,
        site,
    ):
        for _ in range(6):
            assert curl(proxy, f"http://127.0.0.1:{site}/bytes/1000") == 0
        for url in (f"http://127.0.0.9:{site}/get", f"http://127.0.0.1:{free_port()}/"):
            assert curl(proxy, url) == 97
        running.until(
            "speed and sessions",
            lambda: (
                running.value("proxy_download_speed_mbps") and running.value("proxy_success_rate_percent")
            ),
        )
        running.until("eight requests", lambda: running.value("proxy_requests_failed_total") == 2)
        # A probe that misses its half second makes the latency absent until the next round.
        wanted = PART_A - NEEDS_WIREGUARD
        running.until("every series", lambda: all(running.value(name) is not None for name in wanted))
        assert running.value("proxy_requests_successful_total") == 6
        assert running.value("proxy_success_rate_percent") == 75
        assert running.value("proxy_request_rate_permin") == 8
        assert 0 < (running.value("proxy_latency_ms") or 0) < 500
        assert 'proxy_info{proxy_name="golden-crab"} 1' in running.get("/metrics").body
        assert running.status()["name"] == "golden-crab"
        terminal = proxywatch("status", running.http)
        assert (terminal.returncode, "golden-crab" in terminal.stdout) == (0, True)
        assert running.get("/api/v1/history").status == 200
        assert "Traceback" not in running.log.read_text()


def test_promtool_objects_to_nothing_but_the_names_of_part_a(tmp_path: Path) -> None:
    """The real linter on the real body."""
    with beside_dante(tmp_path) as (running, _, _):
        running.until("a round", lambda: running.value("proxy_latency_ms"))
        body = running.get("/metrics").body
    result = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, text=True, check=False
    )
    complaints = [line for line in (result.stdout + result.stderr).splitlines() if line]
    assert [line for line in complaints if line.split()[0] not in PART_A] == []


@contextmanager
def prometheus(directory: Path, scraped: str) -> Iterator[str]:
    """A real Prometheus that scrapes every second; yields its base URL."""
    port = free_port()
    conf = directory / "prometheus.yml"
    conf.write_text(
        "scrape_configs:\n- job_name: proxywatch\n  scrape_interval: 1s\n  scrape_timeout: 1s\n"
        f"  static_configs: [{{targets: ['{scraped}']}}]\n"
    )
    with (directory / "prometheus.out").open("wb") as out:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={conf}", f"--storage.tsdb.path={directory / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=out, stderr=out,
        )  # fmt: skip
    try:
        end = time.monotonic() + 30
        while not _is_ready(f"http://127.0.0.1:{port}/-/ready"):
            assert time.monotonic() < end, (directory / "prometheus.out").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _is_ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def test_a_real_prometheus_scrapes_it_for_a_minute(tmp_path: Path) -> None:
    """`up` is 1 throughout, no counter ever decreases."""
    with (
        beside_dante(tmp_path) as (running, proxy, site),
        prometheus(tmp_path, running.http.removeprefix("http://")) as url,
    ):

        def ask(query: str) -> list[dict[str, Any]]:
            answer = running.get(f"/api/v1/query?query={quote(query)}", base=url)
            return list(json.loads(answer.body)["data"]["result"])

        end = time.monotonic() + 120
        ups: list[str] = []
        while len(ups) < 60:
            assert time.monotonic() < end, f"{len(ups)} scrapes in two minutes"
            curl(proxy, f"http://127.0.0.1:{site}/bytes/1000")
            time.sleep(0.5)
            ups = [value for series in ask("up[3m]") for _, value in series["values"]]
        assert set(ups) == {"1"}
        counters = ask('{__name__=~".+_total|.+_count|.+_bucket"}[2m]')
        assert len(counters) > 100
        fell = [series["metric"] for series in counters if not _rises(series["values"])]
        assert fell == []
        grown = ask("increase(proxy_requests_successful_total[1m])")
        assert float(grown[0]["value"][1]) > 50


def _rises(values: list[tuple[float, str]]) -> bool:
    """Whether no value is below the one before."""
    numbers = [float(value) for _, value in values]
    return all(before <= after for before, after in pairwise(numbers))


def answers_in_time(running: Exporter) -> bool:
    """Both ports, within a second."""
    return (
        running.get("/metrics", timeout=2).seconds < 1
        and running.get("/livez", base=running.health, timeout=2).seconds < 1
    )


def test_a_stopped_dante_is_seen_and_its_return_too(tmp_path: Path) -> None:
    """`kill -STOP` on all of it: latency disappears, failures count, both ports answer, all comes back."""
    with (
        target() as site,
        danted(tmp_path) as proxy,
        exporter(tmp_path, settings(proxy.port, site.port, proxy.log)) as running,
    ):
        running.until("latency", lambda: running.value("proxy_latency_ms"))
        running.until(
            "ready",
            lambda: running.ready() == 200 or "tunnel" in running.get("/readyz", base=running.health).body,
        )
        for pid in proxy.pids():
            os.kill(pid, signal.SIGSTOP)
        running.until("latency absent", lambda: running.value("proxy_latency_ms") is None)
        assert answers_in_time(running)
        assert running.value("proxywatch_collector_success", collector="latency") == 0
        assert (running.value("proxy_probe_failures_total", reason="timeout") or 0) > 0
        for pid in proxy.pids():
            os.kill(pid, signal.SIGCONT)
        running.until("latency back", lambda: running.value("proxy_latency_ms"))
        running.until(
            "success back", lambda: running.value("proxywatch_collector_success", collector="latency") == 1
        )


def test_a_removed_log_loses_nothing_and_a_new_one_is_picked_up(tmp_path: Path) -> None:
    """Dante goes on in the removed file until told to reopen its log: so do we, and then change over."""
    with (
        target() as site,
        danted(tmp_path) as proxy,
        exporter(tmp_path, settings(proxy.port, site.port, proxy.log)) as running,
    ):

        def requests() -> float:
            return running.value("proxy_requests_successful_total") or 0

        running.until("sessions", lambda: requests() > 2)
        proxy.log.unlink()
        before = requests()
        running.until("sessions of the removed file", lambda: requests() > before + 2)
        assert answers_in_time(running)
        proxy.reload()
        running.until("the new file", proxy.log.exists)
        before = requests()
        running.until("sessions of the new file", lambda: requests() > before + 2)
        probes = running.value("proxy_probe_attempts_total") or 0
        tests = running.value("proxy_speedtest_attempts_total") or 0
        assert requests() >= probes + tests - 2, "nothing was lost on the way"


def test_a_log_that_is_not_there_is_seen_and_picked_up_when_it_appears(tmp_path: Path) -> None:
    """Without a log there are no sessions, and everything else goes on."""
    log = tmp_path / "appears.log"
    with (
        target() as site,
        danted(tmp_path, logoutput=str(log)) as proxy,
        exporter(tmp_path, settings(proxy.port, site.port, tmp_path / "link.log")) as running,
    ):
        running.until("latency", lambda: running.value("proxy_latency_ms"))
        assert running.value("proxywatch_collector_success", collector="sessions") == 0
        assert running.value("proxy_success_rate_percent") is None
        os.link(log, tmp_path / "link.log")
        running.until("sessions", lambda: (running.value("proxy_requests_successful_total") or 0) > 0)
        assert running.value("proxywatch_collector_success", collector="sessions") == 1


@contextmanager
def silent_server(port: int) -> Iterator[None]:
    """Accepts, and never says a word."""
    with socket.create_server(("127.0.0.1", port), backlog=64, reuse_port=False) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    held.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in held:
            connection.close()


def test_a_closed_port_then_a_silent_proxy_then_a_real_one(tmp_path: Path) -> None:
    """Each failure has its stage and reason; the real one is picked up without help."""
    port = free_port()
    with target() as site, exporter(tmp_path, settings(port, site.port, tmp_path / "danted.log")) as running:
        running.until(
            "refused",
            lambda: (
                (running.value("proxy_probe_failures_total", stage="proxy_connect", reason="refused") or 0)
                > 0
            ),
        )
        assert running.value("proxy_latency_ms") is None
        assert running.value("proxy_download_speed_mbps") is None
        assert answers_in_time(running)
        assert running.ready() == 503
        with silent_server(port):
            running.until(
                "silence",
                lambda: (
                    (running.value("proxy_probe_failures_total", stage="socks", reason="timeout") or 0) > 0
                ),
            )
            assert answers_in_time(running)
        with danted(tmp_path, port=port):
            running.until("latency", lambda: running.value("proxy_latency_ms"))
            running.until("speed", lambda: running.value("proxy_download_speed_mbps"))
            running.until("sessions", lambda: running.value("proxy_requests_successful_total"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order_within_two_seconds(tmp_path: Path, how: signal.Signals) -> None:
    """Exit status 0, with a probe under way and a client connected."""
    port = free_port()
    with (
        silent_server(port),
        exporter(tmp_path, settings(port, free_port(), tmp_path / "none.log")) as running,
    ):
        host, _, number = running.http.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(number))):
            start = time.monotonic()
            running.process.send_signal(how)
            assert running.process.wait(5) == 0
            assert time.monotonic() - start < 2
    assert "Traceback" not in running.log.read_text()


@pytest.mark.parametrize("way", ["signal", "request"])
def test_a_reload_applies_good_settings_and_refuses_bad_ones(tmp_path: Path, way: str) -> None:
    """A bad file leaves the old settings in force and says so in the log, the metric and the answer."""
    with beside_dante(tmp_path) as (running, proxy, site):
        good = settings(proxy, site, tmp_path / "danted.log")
        good["proxy"] = {"name": "free-salmon", "url": f"socks5h://127.0.0.1:{proxy}"}

        def reload() -> int:
            if way == "signal":
                running.process.send_signal(signal.SIGHUP)
                return 0
            return running.get("/-/reload", method="POST").status

        running.until("sessions", lambda: (running.value("proxy_requests_successful_total") or 0) > 1)
        running.write(good | {"latency": {"intervall": "1s"}})
        assert reload() in (0, 400, 500)
        running.until("refusal", lambda: running.value("proxywatch_config_last_reload_successful") == 0)
        assert "latency.intervall: unknown key" in running.log.read_text()
        assert 'proxy_info{proxy_name="golden-crab"}' in running.get("/metrics").body
        counted = running.value("proxy_requests_successful_total") or 0
        running.write(good)
        assert reload() in (0, 200)
        running.until(
            "new name", lambda: 'proxy_info{proxy_name="free-salmon"}' in running.get("/metrics").body
        )
        assert running.value("proxywatch_config_last_reload_successful") == 1
        assert (running.value("proxy_requests_successful_total") or 0) >= counted, "sessions were kept"


def replace(path: Path, text: str) -> None:
    """Write a file at once, as a reload may read it at any moment."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


def test_hostile_settings_end_nothing_and_show_no_secret(tmp_path: Path) -> None:
    """At a reload by signal and by request the daemon goes on, says what is wrong, and quotes no password."""
    secret = "8642097531"
    hostile = (
        f"proxy: {{password: [{secret}]}}", f"proxy:\n  password: '{secret}", f"proxy: {{password:{secret}}}",
        "latency: {interval: !!timestamp abc}", "latency: {enabled: !!bool abc}", 'sockets: {port: !!int ""}',
        f"sockets: {{port: {'9' * 6000}}}", f"speed: {{bytes: '{'9' * 400}TB'}}",
        "latency: {interval: 2021-99-99}",
        "[" * 3000, "\x00", "latency: [*a]", "".join(f"k{n}: 1\n" for n in range(80_000)),
    )  # fmt: skip
    with exporter(tmp_path, {"log": {"level": "debug"}}) as running:
        good = running.conf.read_text()
        for text in hostile:
            replace(running.conf, text)
            answer = running.reload()
            assert answer.status == 400, text[:40]
            assert "yaml:" in answer.body
            running.process.send_signal(signal.SIGHUP)
            fault = json.loads(running.get("/api/v1/status").body)["settings_fault"]
            for shown in (answer.body, fault, running.log.read_text()):
                assert secret not in shown
            assert len(answer.body) < 20_000
        replace(running.conf, good)
        assert running.reload().status == 200
        running.until(
            "good settings", lambda: json.loads(running.get("/api/v1/status").body)["settings_fault"] == ""
        )


@pytest.mark.parametrize("command", ["run", "check"])
def test_seven_mistakes_get_seven_messages_and_status_2(tmp_path: Path, command: str) -> None:
    """With the file, the line and the key of each."""
    conf = tmp_path / "proxywatch.yaml"
    conf.write_text(
        "latency:\n  interval: fast\n  targets: []\n  colour: red\nspeed:\n  max_bytes: -1\nsesions: {}\n"
        "http:\n  listen: 'nine'\nlog:\n  level: loud\n"
    )
    result = proxywatch(command, "-c", str(conf))
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    places = [
        "2 latency.interval",
        "4 latency.colour",
        "6 speed.max_bytes",
        "7 sesions",
        "9 http.listen",
        "11 log.level",
    ]
    assert all(any(f"proxywatch.yaml:{place}:" in line for line in lines) for place in places), result.stderr
    assert len(lines) >= len(places)


def test_a_required_collector_that_there_is_not_is_a_fault() -> None:
    """Readiness must not pass because of a misspelt name."""
    result = proxywatch("run", PROXYWATCH_HEALTH_REQUIRE="latency, sesions")
    assert (result.returncode, "no collector sesions" in result.stderr) == (2, True)


def test_a_file_that_is_not_there_is_a_fault_not_a_traceback(tmp_path: Path) -> None:
    """With its name."""
    result = proxywatch("run", "-c", str(tmp_path / "none.yaml"))
    assert (result.returncode, "No such file" in result.stderr, "Traceback" in result.stderr) == (
        2,
        True,
        False,
    )


def test_a_port_in_use_is_an_error_in_words() -> None:
    """With the setting and the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = proxywatch("run", PROXYWATCH_HTTP_LISTEN=f"127.0.0.1:{port}", HEALTH_PORT="0")
    assert (result.returncode, "in use" in result.stderr, "Traceback" in result.stderr) == (2, True, False)
