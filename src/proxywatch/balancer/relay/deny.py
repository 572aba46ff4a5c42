"""What no client may reach through the relay, judged by what it wrote.

Names are resolved by the node, so only literals, and names that are known to be local, can be judged here;
addresses that a name turns out to be are for the node to refuse.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from proxywatch.errors import ParseError
from proxywatch.parse.host import canonical, packed

_NETWORKS = {
    "loopback": ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10", "fec0::/10", "224.0.0.0/4", "255.255.255.255/32",
                   "ff00::/8"),
    "metadata": ("169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "192.0.0.192/32",
                 "168.63.129.16/32", "fd00:ec2::/32", "fd20:ce::254/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15",
                "fc00::/7"),
}  # fmt: skip
# Names, and domains where a dot comes first.
_NAMES = {
    "loopback": ("localhost", ".localhost", "localhost.localdomain", "localhost4", "localhost6",
                 "ip6-localhost",
                 "ip6-loopback"),
    "link-local": (".local",),
    "metadata": ("metadata", "metadata.google.internal", "metadata.goog", "instance-data",
                 "instance-data.ec2.internal"),
    "private": (".internal", ".localdomain", ".lan", ".home", ".home.arpa", ".intranet", ".corp", ".private",
                ".in-addr.arpa", ".ip6.arpa"),
}  # fmt: skip
# IPv6 addresses that stand for an IPv4 one: NAT64, 6to4, IPv4-compatible; and where the latter begins.
_EMBEDDING = (
    (IPv6Network("64:ff9b::/96"), 12),
    (IPv6Network("64:ff9b:1::/48"), 12),
    (IPv6Network("2002::/16"), 2),
    (IPv6Network("::/96"), 12),
)

Address = IPv4Address | IPv6Address


class Deny:
    """A deny list."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Read its entries.

        Args:
            entries: `loopback`, `link-local`, `metadata`, `private`; networks; names; domains, as
                `.example.com`.

        Raises:
            ParseError: One of them is none of these.
        """
        self._networks: list[tuple[IPv4Network | IPv6Network, str]] = []
        self._names: dict[str, str] = {}
        self._single = False
        for entry in entries:
            self._add(entry)
        self.reason = lru_cache(maxsize=4096)(self._reason)

    def _add(self, entry: str) -> None:
        if entry in _NETWORKS:
            self._networks += [(ip_network(network), entry) for network in _NETWORKS[entry]]
            self._names |= dict.fromkeys(_NAMES[entry], entry)
            self._single = self._single or entry == "private"
            return
        try:
            self._networks.append((ip_network(entry), entry))
        except ValueError:
            dot = "." if entry.startswith(".") else ""
            self._names[dot + canonical(entry.removeprefix("."))] = entry

    def _reason(self, host: str) -> str:
        """Which entry forbids a canonical host; empty for none."""
        address = packed(host)
        if address is not None:
            return self._of_address(ip_address(address))
        if host in self._names:
            return self._names[host]
        labels = host.split(".")
        for place in range(len(labels)):
            if entry := self._names.get("." + ".".join(labels[place:])):
                return entry
        return "private" if self._single and len(labels) == 1 else ""

    def _of_address(self, address: Address) -> str:
        for meant in (address, *_embedded(address)):
            for network, entry in self._networks:
                if meant in network:
                    return entry
        return ""


def check(entries: Iterable[str]) -> str:
    """What is wrong with the entries of a deny list; empty for nothing."""
    try:
        Deny(entries)
    except ParseError as error:
        return str(error)
    return ""


def _embedded(address: Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    return [
        IPv4Address(address.packed[start : start + 4]) for network, start in _EMBEDDING if address in network
    ]
