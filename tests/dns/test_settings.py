"""Settings say what they mean, or what is wrong with them."""

from typing import Any

import pytest

from proxywatch.config import Schema, load
from proxywatch.dns.settings import Api, Network, Settings, UpstreamUrl, Via
from proxywatch.errors import ConfigError, ParseError

SCHEMA = Schema({"dns": Settings, "api": Api})


def settings(text: str) -> Settings:
    return load(f"dns: {text}", {}, SCHEMA)[Settings]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("9.9.9.9", ("udp", "9.9.9.9", 53, "9.9.9.9")),
        ("9.9.9.9:5353", ("udp", "9.9.9.9", 5353, "9.9.9.9")),
        ("2620:fe::fe", ("udp", "2620:fe::fe", 53, "2620:fe::fe")),
        ("[2620:fe::fe]:5353", ("udp", "2620:fe::fe", 5353, "2620:fe::fe")),
        ("tcp://10.64.0.1", ("tcp", "10.64.0.1", 53, "10.64.0.1")),
        ("tls://9.9.9.9#dns.quad9.net", ("tls", "9.9.9.9", 853, "dns.quad9.net")),
        ("https://dns.quad9.net/dns-query", ("https", "dns.quad9.net", 443, "dns.quad9.net")),
    ],
)
def test_resolvers(text: str, parts: tuple[object, ...]) -> None:
    url = UpstreamUrl.parse(text)
    assert (url.scheme, url.host, url.port, url.tls_name) == parts


@pytest.mark.parametrize(
    "text",
    ["", "http://a/", "udp://", "udp://a:0", "udp://a:99999", "tls://user:pass@a", "udp://a/path", "https://a/?dns=1",
     "a b", "ü", "https://a/\n", 5, None, "https://a/\r\nx: y"],
)  # fmt: skip
def test_what_is_no_resolver(text: object) -> None:
    with pytest.raises(ParseError) as raised:
        UpstreamUrl.parse(text)
    assert "pass" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["direct", "node:se-1", "country:se", "socks5h://127.0.0.1:1080", "socks5h://u@[::1]:1"]
)
def test_ways(text: str) -> None:
    assert Via.parse(text) == text


@pytest.mark.parametrize(
    "text", ["", "Direct", "node:", "socks5://a:1", "socks5h://a", "socks5h://u:secret@a:1", "http://a:1", 7]
)
def test_what_is_no_way(text: object) -> None:
    with pytest.raises(ParseError) as raised:
        Via.parse(text)
    assert "secret" not in str(raised.value)


def test_networks() -> None:
    assert str(Network.parse("10.0.0.0/8").network) == "10.0.0.0/8"
    for text in ("10.0.0.1/8", "a", "", 5):
        with pytest.raises(ParseError):
            Network.parse(text)


def test_the_least_that_works() -> None:
    read = settings("{upstream: [10.64.0.1], via: direct}")
    assert read.upstream[0].host == "10.64.0.1"
    assert read.listen[0] == "127.0.0.1:53"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{via: direct}", "at least one resolver"),
        ("{upstream: [9.9.9.9]}", "expected direct, written out"),
        ("{upstream: ['tls://dns.quad9.net'], via: direct}", "needs a `bootstrap`"),
        ("{upstream: ['127.0.0.1:53'], via: direct}", "this forwarder itself"),
        ("{upstream: ['127.0.0.1:5300'], via: direct, listen: [':5300']}", "this forwarder itself"),
        ("{upstream: ['0.0.0.0:53'], via: direct}", "this forwarder itself"),
        ("{upstream: [9.9.9.9], via: direct, bootstrap: ['tls://9.9.9.9']}", "expected addresses"),
        ("{upstream: [9.9.9.9], via: direct, bootstrap: [dns.test]}", "expected addresses"),
        ("{upstream: [9.9.9.9], via: 'socks5h://proxy.test:1080'}", "needs a `bootstrap`"),
        ("{upstream: [9.9.9.9], via: direct, failure_ttl: 1h}", "failure_ttl"),
        ("{upstream: [9.9.9.9], via: direct, listen: ['unix:/a']}", "not unix sockets"),
        ("{upstream: [9.9.9.9], via: direct, forward: 1}", "unknown key"),
    ],
)
def test_what_cannot_work_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(text)
    assert fault in str(raised.value)


def test_names_need_no_bootstrap_where_a_proxy_resolves_them() -> None:
    assert settings("{upstream: ['tls://dns.quad9.net'], via: 'socks5h://127.0.0.1:1080'}").bootstrap == ()


def test_every_key_has_a_sentence() -> None:
    for section in SCHEMA.sections.values():
        text = section.__doc__ or ""
        missing: list[Any] = [name for name in section.__struct_fields__ if f"{name}: " not in text]
        assert not missing
