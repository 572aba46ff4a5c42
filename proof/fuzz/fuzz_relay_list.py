"""Invariant: a relay list gives nodes behind the proxy that was named, or a ParseError.

python fuzz/fuzz_relay_list.py [SECONDS] [SEED]
"""

from mutate import fuzz

from proxywatch.balancer.discovery import mullvad
from proxywatch.balancer.discovery.mullvad import Wanted
from proxywatch.balancer.node import Upstream
from proxywatch.errors import ParseError

VIA = Upstream("socks5", "10.0.0.1", 1080)
LISTS = (
    b'[{"hostname":"se-got-wg-001","country_code":"se","city_code":"got","active":true,"owned":true,"provider":"x",'
    b'"type":"wireguard","socks_name":"se-got-wg-socks5-001.relays.example","socks_port":1080,"daita":false}]',
    b'[{"hostname":"a","country_code":"de","active":true,"type":"wireguard","socks_name":"a.example"},{"type":"bridge"}]',
    b"[1,null,{}]",
)
WORDS = (
    b'"',
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"true",
    b"null",
    b"0",
    b"65536",
    b"\\u0000",
    b"\xff",
    b"..",
    b"a" * 300,
)


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    try:
        sighting = mullvad.read(data, Wanted(), VIA)
    except ParseError:
        return
    assert sighting.dropped >= 0
    assert all(node.via == VIA and node.id == name for name, node in sighting.nodes.items())


if __name__ == "__main__":
    fuzz(one, LISTS, WORDS)
