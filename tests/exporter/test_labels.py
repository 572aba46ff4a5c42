"""The constant labels: whatever the environment holds, the metrics can be written."""

import os
import subprocess
import sys

from prometheus_client.exposition import generate_latest

from proxywatch.config import load
from proxywatch.exporter import library
from proxywatch.exporter.settings import SCHEMA
from proxywatch.metrics import family
from proxywatch.metrics.registry import Registry
from support.publishers import Puppet

ONE = family.gauge("one", "One.")


def test_a_name_that_is_no_utf8_empties_nothing() -> None:
    """A variable of bytes reaches Python as lone surrogates, which no exposition can hold."""
    code = "import os; print(ascii(os.environ['PROXY_NAME']))"
    environ = {**os.environb, b"PROXY_NAME": b"caf\xe9 \xff"}
    seen = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    name = eval(seen.stdout)
    assert name == "caf\udce9 \udcff"
    config = load("", {"PROXY_NAME": name}, SCHEMA)
    registry = Registry(library.labels(config))
    registry.register(Puppet("x", {ONE: 1}))
    assert 'one{proxy_name="caf\ufffd \ufffd"} 1.0' in generate_latest(registry).decode()
