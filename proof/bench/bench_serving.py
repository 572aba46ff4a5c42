"""How many scrapes a second, beside the servers that others use: one run, the same body, in turns.

    python proof/bench/bench_serving.py [SECONDS] [ROUNDS]

Needs wrk; nginx and prometheus-node-exporter where they are to be compared. Each server gets a turn per
round; the medians of the rounds are printed with our ratio to them. node_exporter has a body of its own, and
collects at each scrape, as it always does.
"""

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from serving import exporter, free_port

NGINX = """
{user} daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type text/plain;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""
CLIENT = """
import sys, threading
from prometheus_client.core import CollectorRegistry
from prometheus_client.exposition import start_http_server
from prometheus_client.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(open(sys.argv[2]).read()))
registry = CollectorRegistry(auto_describe=False)
registry.register(type("Same", (), {"collect": lambda self: families})())
start_http_server(int(sys.argv[1]), "127.0.0.1", registry)
threading.Event().wait()
"""


def wrk(url: str, seconds: int) -> tuple[float, str]:
    """Requests a second, and the 99th percentile as wrk writes it."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if match := re.search(r"Socket errors.*|Non-2xx.*", told):
        print("  !", match[0])
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    tail = re.search(r"^ +99% +(\S+) *$", told, re.MULTILINE)
    assert rate, told
    assert tail, told
    return float(rate[1]), tail[1]


@contextlib.contextmanager
def process(command: list[str], url: str) -> Iterator[str]:
    """A server, once it answers."""
    with tempfile.TemporaryFile() as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(200):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(url, timeout=2).read()
                    break
                time.sleep(0.05)
            yield url
        finally:
            running.terminate()
            running.wait()


def main(seconds: int, rounds: int) -> None:
    """Compare."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        us = stack.enter_context(exporter(folder))
        body = urllib.request.urlopen(f"{us.http}/metrics").read()
        (folder / "metrics").write_bytes(body)
        servers = {"proxywatch": f"{us.http}/metrics"}
        port = free_port()
        servers["prometheus_client"] = stack.enter_context(
            process(
                [sys.executable, "-c", CLIENT, str(port), str(folder / "metrics")],
                f"http://127.0.0.1:{port}/metrics",
            )
        )
        if nginx := shutil.which("nginx"):
            port = free_port()
            (folder / "nginx.conf").write_text(
                NGINX.format(folder=folder, port=port, user="user root;" if os.getuid() == 0 else "")
            )
            servers["nginx, as a file"] = stack.enter_context(
                process([nginx, "-c", str(folder / "nginx.conf")], f"http://127.0.0.1:{port}/metrics")
            )
        if node := shutil.which("prometheus-node-exporter"):
            port = free_port()
            servers["node_exporter"] = stack.enter_context(
                process([node, f"--web.listen-address=127.0.0.1:{port}"], f"http://127.0.0.1:{port}/metrics")
            )
        print(f"body: {len(body)} bytes")
        rates: dict[str, list[float]] = {name: [] for name in servers}
        tails: dict[str, list[str]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, url in servers.items():
                rate, tail = wrk(url, seconds)
                rates[name].append(rate)
                tails[name].append(tail)
        ours = statistics.median(rates["proxywatch"])
        print(f"{'server':<20}{'scrapes/s':>12}{'us / it':>10}   p99 of each round")
        for name in servers:
            rate = statistics.median(rates[name])
            print(f"{name:<20}{rate:>12,.0f}{ours / rate:>10.2f}   {' '.join(tails[name])}")


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    main(*(arguments + [4, 3][len(arguments) :]))
