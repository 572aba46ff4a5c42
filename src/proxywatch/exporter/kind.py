"""Whether the proxy is Dante, where the settings leave that open.

A setting that only Dante's log or processes have a use for speaks for Dante. Else it is who listens on the
proxy's port, where that can be seen; else a log, a configuration or a process of Dante's speaks for it, and a
process of another proxy's against it. Where nothing speaks, it is taken for Dante: then what is missing is
told, and the operator can say otherwise.
"""

import logging
import os
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from proxywatch.config import Config
from proxywatch.errors import ProxywatchError
from proxywatch.exporter.collector import children, sessions, tcp
from proxywatch.parse import inet_diag
from proxywatch.probe.proxy import Proxy
from proxywatch.source import procfs, sock_diag

log = logging.getLogger(__name__)

_CONFS = ("/etc/danted.conf", "/etc/sockd.conf", "/etc/dante/sockd.conf")
_OTHERS = frozenset(
    {
        "3proxy", "brook", "glider", "gost", "hev-socks5-serv", "microsocks", "privoxy", "sing-box", "squid",
        "srelay", "ss-local", "ss5", "tinyproxy", "v2ray", "wireproxy", "xray",
    }
)  # fmt: skip


class Machine(NamedTuple):
    """What is looked at; tests put others in the places.

    Attributes:
        exists: Whether there is a file.
        names: The names of all processes that can be seen.
        holders: The names of the processes that listen on a port, as far as they can be seen.
    """

    exists: Callable[[str], bool]
    names: Callable[[], set[str]]
    holders: Callable[[int], set[str]]


def settled(config: Config, machine: Machine | None = None) -> tuple[Config, str]:
    """The settings with a kind that is not `auto`, and why in a sentence; empty where it was said."""
    proxy = config[Proxy]
    if proxy.kind != "auto":
        return config, ""
    other = _another(config, machine or MACHINE)
    kind = "generic" if other else "dante"
    sections = {**config.sections}
    for name, section in sections.items():
        if section is proxy:
            sections[name] = msgspec.structs.replace(proxy, kind=kind)
    return Config(sections), other


def reading(read: Callable[[], Config]) -> Callable[[], Config]:
    """The same reader, whose settings have a kind that is not `auto`."""

    def settle() -> Config:
        config, why = settled(read())
        if why:
            log.info("generic proxy", extra={"reason": why})
        return config

    return settle


def _another(config: Config, machine: Machine) -> str:
    """Why the proxy is another than Dante; empty where it is not known to be."""
    log_settings, server = config[sessions.Settings], config[children.Settings]
    if log_settings.log != sessions.Settings().log or log_settings.checkpoint or server.pid_file:
        return ""
    port = config[tcp.Settings].port or tcp.port_of(config[Proxy])
    if holders := machine.holders(port):
        return "" if holders & set(server.names) else f"{min(holders)} listens on port {port}"
    names = machine.names()
    if any(map(machine.exists, (log_settings.log, *_CONFS))) or names & set(server.names):
        return ""
    others = names & _OTHERS
    return f"{min(others)} runs here, and nothing of Dante's is here" if others else ""


def _names() -> set[str]:
    return {procfs.name(pid) for pid in procfs.pids()}


def _holders(port: int) -> set[str]:
    try:
        listening = {
            inet_diag.parse(row).inode
            for family in (inet_diag.IPV4, inet_diag.IPV6)
            for rows in sock_diag.KERNEL.dump(inet_diag.request(family, port, inet_diag.LISTENING))
            for row in rows
        }
        return {procfs.name(pid) for pid in procfs.holders(listening)} if listening else set()
    except ProxywatchError:
        return set()


MACHINE = Machine(os.path.exists, _names, _holders)
