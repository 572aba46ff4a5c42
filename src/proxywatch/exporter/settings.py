"""The exporter's settings: its sections, and the environment variables that set some of their keys."""

import re
from collections.abc import Mapping

from proxywatch import logs
from proxywatch.config import Alias, Schema
from proxywatch.exporter import runner, server, table
from proxywatch.health import settings as health
from proxywatch.probe.proxy import Proxy


def _same(text: str, _: str | None) -> str:
    return text


def _listen(port: str, _: str | None) -> str:
    return f":{port}"


def _with_port(port: str, url: str | None) -> str:
    """The URL of the file, or the default one, with another port."""
    scheme, separator, rest = (url or "socks5h://127.0.0.1").partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{user}{at}{re.sub(r':[0-9]+$', '', host)}:{port}"


_ALIASES: Mapping[str, Mapping[tuple[str, ...], Alias]] = {
    "PROXY_NAME": {("proxy", "name"): _same},
    "SOCKS5_PORT": {("proxy", "url"): _with_port, ("sockets", "port"): _same},
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
    ignored=("PROXYWATCH_BALANCER_", "PROXYWATCH_DNS_"),  # settings of the project's other daemons
)
