"""Recorded logs of Dante with the truth about them, counted by drivers and servers that never read one."""

import gzip
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures" / "dante"

# What the log can show of each kind of failure that the driver provoked; None: it is no request.
REASONS: dict[str, str | None] = {
    "tcp_probe_close": None, "tcp_probe_rst": None,
    "garbage": "not_socks", "http_on_socks_port": "not_socks", "http_connect_on_socks_port": "not_socks",
    "tls_on_socks_port": "not_socks", "bad_cmd": "bad_request", "bad_atyp": "bad_request",
    "no_acceptable_method": "no_auth_method", "no_methods": "no_auth_method",
    "auth_badpw": "auth_failed", "auth_baduser": "auth_failed",
    "method_then_fin": "negotiation_aborted", "method_then_rst": "negotiation_aborted",
    "silent": "negotiation_timeout", "silent_after_method": "negotiation_timeout",
    "partial_hello": "negotiation_timeout", "socks4a_ok": "socks4a", "socks4a_nx": "socks4a",
    "blocked_client": "client_rule", "blocked_dest": "socks_rule", "blocked_dest_viaip": "socks_rule",
    "blocked_port": "socks_rule", "auth_required_not_offered": "socks_rule",
    "v4client_aaaa_only": "socks_rule",
    "nxdomain": "dns_not_found", "weird_domain": "dns_not_found", "empty_domain": "dns_not_found",
    "long_domain": "dns_not_found", "blocked_dest_domain": "dns_not_found",
    "dns_nodata": "dns_no_address", "servfail": "dns_temporary", "dns_refused": "dns_temporary",
    "dns_slow": "dns_temporary", "net_unreach": "no_route", "unreach_route": "no_route",
    "unreach_domain": "no_route", "blackhole_route": "no_route", "prohibit_route": "not_permitted",
    "refused": "refused", "refused_domain": "refused", "socks4_refused": "refused",
    "bad_ver_request": "refused", "server_rst_accept": "reset",
    "icmp_host_unreach": "unreachable", "icmp_net_unreach": "unreachable", "icmp_admin_prohib": "unreachable",
    "connect_timeout": "connect_timeout", "connect_timeout_client_quits": "connect_timeout",
}  # fmt: skip
UNLOGGED = {"blocked_client_default", "v6_blocked_default"}  # the built-in default rule writes nothing
GRANTED = {
    "established": "connect",
    "udp_established": "udpassociate",
    "bind_established": "bind",
    "bind_no_peer": "bind",
}


@dataclass(frozen=True)
class Corpus:
    """One recorded log.

    Attributes:
        name: Also that of the `log:` setting.
        log: Its bytes.
        sessions: The truth, a record for each connection that a client made.
    """

    name: str
    log: bytes
    sessions: list[dict[str, Any]]


@cache
def read(name: str) -> bytes:
    """A fixture, unpacked."""
    return gzip.decompress((FIXTURES / f"{name}.gz").read_bytes())


@cache
def corpus(name: str) -> Corpus:
    return Corpus(name, read(f"{name}.log"), json.loads(read(f"{name}.truth.json"))["sessions"])


_ENDPOINT = re.compile(rb"(?:^|[ @])([0-9a-f:.]+\.\d+)(?=[ :]|$)")
_SHORT = re.compile(rb"tcpi_|TCP_INFO|\s*$")


def lines_of_each(log: bytes) -> dict[str, list[bytes]]:
    """The lines by the client's endpoint that they name first, or last in a bindreply."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for line in log.splitlines():
        if _SHORT.match(line):
            continue
        rest = line.partition(b"]: info: ")[2].partition(b" ")[2]
        endpoints = _ENDPOINT.findall(rest.partition(b" ")[2].partition(b" ")[2])
        if endpoints:
            found[endpoints[3 if b"/bindreply " in line and len(endpoints) > 3 else 0].decode()].append(line)
    return found
