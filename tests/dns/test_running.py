"""`proxywatch dns run` and `check` as their users run them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
import yaml

from support.dns_upstreams import threaded
from testbed.exporter import proxywatch

_PORTS = re.compile(r'msg=listening dns="?(\S+?)"? api="?(\S+?)"?$', re.MULTILINE)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def forwarder(directory: Path, upstream: int, **settings: object) -> Iterator[tuple[int, str, Path]]:
    """Its port, the URL of its API, and its log; the process id stands beside the log."""
    port, log, conf = free_port(), directory / "log", directory / "dns.yaml"
    given = {"listen": [f"127.0.0.1:{port}"], "upstream": [f"127.0.0.1:{upstream}"], "via": "direct"}
    conf.write_text(yaml.safe_dump({"dns": given | settings, "api": {"listen": ["127.0.0.1:0"]}}))
    command = [sys.executable, "-m", "proxywatch", "dns", "run", "-c", str(conf)]
    with log.open("wb") as errors, subprocess.Popen(command, stderr=errors) as process:
        try:
            deadline = time.monotonic() + 20
            while not (match := _PORTS.search(log.read_text())):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            log.with_suffix(".pid").write_text(str(process.pid))
            yield port, f"http://{match[2]}", log
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def pid(log: Path) -> int:
    return int(log.with_suffix(".pid").read_text())


def _until(so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_forwarder_with_its_statistics(tmp_path: Path) -> None:
    """Names resolve, the second time from the cache; the statistics add up; metrics and health are there."""
    with threaded() as upstream, forwarder(tmp_path, upstream) as (port, url, _):
        for _ in range(3):
            answer = dns.query.udp(dns.message.make_query("a.test.", "A"), "127.0.0.1", 5, port)
            assert answer.rcode() == dns.rcode.NOERROR
            assert answer.answer
        status, body = get(f"{url}/api/dns/stats")
        stats = json.loads(body)
        cache = stats["cache"]
        assert (status, stats["queries"], cache["hits"], cache["misses"]) == (200, 3, 2, 1)
        assert cache["hits"] + cache["misses"] + cache["uncacheable"] == stats["queries"]
        assert stats["by_type"] == {"A": 3}
        assert stats["top_domains"][0]["count"] == 3
        assert 'dns_cache_results_total{result="hit"} 2.0' in get(f"{url}/metrics")[1]
        assert "a.test" not in get(f"{url}/metrics")[1]
        assert get(f"{url}/readyz")[0] == 200
        assert get(f"{url}/livez") == (200, "ok\n")
        assert get(f"{url}/nothing")[0] == 404


def test_a_resolver_that_is_gone(tmp_path: Path) -> None:
    """SERVFAIL in time, not ready, and `check` says what to do."""
    with forwarder(tmp_path, free_port(), timeout="0.3s", deadline="1s") as (port, url, log):
        for number in range(4):
            query = dns.message.make_query(f"a{number}.test.", "A")
            assert dns.query.udp(query, "127.0.0.1", 5, port).rcode() == dns.rcode.SERVFAIL
        assert get(f"{url}/readyz")[0] == 503
        assert "resolver fails" in log.read_text()
        checked = proxywatch("dns", "check", "-c", str(tmp_path / "dns.yaml"))
        assert checked.returncode == 1
        assert "Nothing listens there" in checked.stdout


def test_the_block_list_is_read_again_at_a_signal(tmp_path: Path) -> None:
    """And a list that is gone changes nothing."""
    blocked = tmp_path / "blocked"
    blocked.write_text("b.test\n")
    with threaded() as upstream, forwarder(tmp_path, upstream, block=str(blocked)) as (port, _, log):

        def code(name: str) -> int:
            return dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", 5, port).rcode()

        assert code("b.test.") == dns.rcode.NXDOMAIN
        assert code("a.test.") == dns.rcode.NOERROR
        blocked.write_text("c.test\n")
        os.kill(pid(log), signal.SIGHUP)
        _until(lambda: code("c.test.") == dns.rcode.NXDOMAIN)
        assert code("b.test.") == dns.rcode.NOERROR
        blocked.unlink()
        os.kill(pid(log), signal.SIGHUP)
        _until(lambda: "cannot be read" in log.read_text())
        assert code("c.test.") == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dns: {upstream: [9.9.9.9]}", "via"),
        ("dns: {upstream: [9.9.9.9], via: 'country:se'}", "balancer"),
        ("dns: {upstream: [], via: direct}", "at least one"),
        ("dns: {upstream: [9.9.9.9], via: direct, colour: red}", "unknown key"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, text: str, words: str) -> None:
    """Refused with status 2, in words."""
    conf = tmp_path / "dns.yaml"
    conf.write_text(text)
    refused = proxywatch("dns", "check", "-c", str(conf))
    assert refused.returncode == 2
    assert words in refused.stderr
