"""The operator's list of nodes."""

from typing import Any

import pytest

from proxywatch.balancer.node import Upstream
from proxywatch.balancer.nodes import NodeSettings, nodes_of, upstream
from proxywatch.errors import ConfigError, ParseError


def entry(**keys: Any) -> NodeSettings:
    return NodeSettings(**({"id": "se-1", "country": "se", "url": "socks5h://10.0.0.1:1080"} | keys))


def test_a_node_with_everything() -> None:
    """What is written is what is known; `uk` is kept as gb; names are always resolved by the proxy."""
    (node,) = nodes_of(
        [
            entry(
                id="gb-1", country="uk", url="socks5://proxy.test:1081", city="LON", server="gb-lon-wg-001",
                sidecar="http://10.0.0.1:9090/", username="u", password_file="/run/p", weight=2,
                max_connections=500, slot="gb-first", tags=("fast",), via="http://10.0.0.9:3128",
            )
        ]
    )  # fmt: skip
    assert node.country == "gb"
    assert node.upstream == Upstream("socks5", "proxy.test", 1081, "u", "/run/p")
    assert (node.city, node.slot, node.sidecar) == ("lon", "gb-first", "http://10.0.0.1:9090")
    assert node.via == Upstream("http", "10.0.0.9", 3128)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socks4://10.0.0.1", "expected one of socks5://"),
        ("10.0.0.1:1080", "expected one of"),
        ("socks5://u:secret@10.0.0.1", "credentials have keys of their own"),
        ("socks5://10.0.0.1:99999", "port from 1 to 65535"),
        ("socks5://10.0.0.1:0", "port from 1 to 65535"),
        ("socks5://:1080", "expected a host"),
        ("http://10.0.0.1:80/path", "nothing after them"),
        ("socks5://[10.0.0.1", "expected a URL"),
    ],
)
def test_urls_that_are_none(url: str, words: str) -> None:
    """Refused in words that quote no password."""
    with pytest.raises(ParseError, match=words) as caught:
        upstream(url)
    assert "secret" not in str(caught.value)


def test_every_fault_is_found_at_once() -> None:
    """In each entry, and between them."""
    with pytest.raises(ConfigError) as caught:
        nodes_of(
            [
                entry(id="list"),
                entry(id="a b"),
                entry(id="se-1", country="Atlantis"),
                entry(id="se-2", sidecar="10.0.0.1:9090"),
                entry(id="se-3", password_file="/run/p"),
                entry(id="se-4", via="nobody"),
                entry(id="se-5"),
                entry(id="se-5"),
                entry(id="se-6", via="se-7"),
                entry(id="se-7", via="se-6"),
            ]
        )
    faults = [str(fault) for fault in caught.value.faults]
    for words in (
        "nodes[0].id: list is a word of the API",
        "nodes[1].id: expected at most 64 letters",
        "nodes[2].country: expected a country code",
        "nodes[3].sidecar: expected http://",
        "nodes[4].username: expected beside password_file",
        "no node nobody",
        "nodes[7].id: se-5 is there twice",
        "nodes se-6 via: expected at most 2 hops",
        "nodes se-7 via: expected at most 2 hops",
    ):
        assert any(words in fault for fault in faults), (words, faults)


def test_a_node_through_a_node() -> None:
    """One hop is what `via` is for."""
    nodes = nodes_of([entry(), entry(id="se-2", via="se-1")])
    assert nodes[1].via == "se-1"
