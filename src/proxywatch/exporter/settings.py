"""The exporter's settings: its sections, and the environment variables that set some of their keys."""

import re
from collections.abc import Mapping

from proxywatch import logs
from proxywatch.config import Alias, Schema
from proxywatch.exporter import runner, server, table
from proxywatch.health import settings as health
from proxywatch.probe.proxy import Proxy


def _same(text: str, _: object) -> object:
    return text


def _listen(port: str, _: object) -> object:
    return f":{port}"


def _with_port(port: str, url: object) -> object:
    """The URL of the file, or the default one, with another port."""
    before = url if isinstance(url, str) else "socks5h://127.0.0.1"
    scheme, separator, rest = before.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{user}{at}{re.sub(r':[0-9]+$', '', host)}:{port}"


def _number(text: str, _: object) -> object:
    return int(text) if text.isdigit() else text


_ALIASES: Mapping[str, Mapping[tuple[str, str], Alias]] = {
    "PROXY_NAME": {("proxy", "name"): _same},
    "SOCKS5_PORT": {("proxy", "url"): _with_port, ("sockets", "port"): _number},
    "METRICS_PORT": {("http", "listen"): _listen},
    "HEALTH_PORT": {("health", "listen"): _listen},
}

SCHEMA = Schema(
    sections={
        "proxy": Proxy,
        **table.sections(),
        "scrape": runner.Settings,
        "http": server.Settings,
        "health": health.Settings,
        "log": logs.Settings,
    },
    aliases=_ALIASES,
)
