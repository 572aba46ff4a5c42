"""Settings of the forwarder."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

import msgspec

from proxywatch.errors import ConfigError, Fault, ParseError
from proxywatch.quantity import Address, Duration, Size, show

Positive = Annotated[Duration, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
_PORTS = {"udp": 53, "tcp": 53, "tls": 853, "https": 443}
_LARGEST_PORT = 65535


class UpstreamUrl(str):
    """A resolver: `9.9.9.9`, `tcp://9.9.9.9:53`, `tls://9.9.9.9#dns.quad9.net`, `https://dns.quad9.net/dns-query`."""

    __slots__ = ()

    expected = (
        "a resolver such as 9.9.9.9, udp://[2620:fe::fe]:53, tcp://9.9.9.9, tls://9.9.9.9#dns.quad9.net or "
        "https://dns.quad9.net/dns-query"
    )

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a resolver."""
        text = value if isinstance(value, str) else ""
        whole = text if "://" in text else f"udp://{_bracketed(text)}"
        try:
            parts = urlsplit(whole)
            good = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise ParseError(f"expected {cls.expected}") from None
        good = good and whole.isascii() and whole.isprintable() and not set(whole) & set(' "\\')
        if not good or "@" in parts.netloc or parts.query or (parts.path and parts.scheme != "https"):
            raise ParseError(f"expected {cls.expected}, got {show(value)}")
        return cls(whole)

    @property
    def scheme(self) -> Literal["udp", "tcp", "tls", "https"]:
        """How it is asked."""
        return urlsplit(self).scheme  # type: ignore[return-value]

    @property
    def host(self) -> str:
        """Its address or name."""
        return urlsplit(self).hostname or ""

    @property
    def port(self) -> int:
        """Its port."""
        return urlsplit(self).port or _PORTS[self.scheme]

    @property
    def path(self) -> str:
        """The path of its service, for https."""
        return urlsplit(self).path or "/dns-query"

    @property
    def tls_name(self) -> str:
        """The name that its certificate must carry."""
        return urlsplit(self).fragment or self.host


class Via(str):
    """The way to the resolvers: `direct`, `node:ID`, `country:CC` or `socks5h://[user@]host:port`."""

    __slots__ = ()

    expected = "direct, node:ID, country:CC or socks5h://host:port"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a way; a password belongs into `via_password_file`."""
        text = value if isinstance(value, str) else ""
        kind, _, name = text.partition(":")
        if text == "direct" or (
            kind in {"node", "country"} and name and name.isascii() and name.isprintable()
        ):
            return cls(text)
        try:
            parts = urlsplit(text)
            good = parts.scheme == "socks5h" and bool(parts.hostname) and bool(parts.port)
        except ValueError:
            raise ParseError(f"expected {cls.expected}") from None
        if not good or parts.password is not None or parts.path or parts.query or parts.fragment:
            raise ParseError(f"expected {cls.expected}, without a password")
        return cls(text)

    @property
    def host(self) -> str:
        """The proxy's address or name; empty without one."""
        return urlsplit(self).hostname or ""


class Network(str):
    """Clients: `10.0.0.0/8`, `fd00::/8` or one address."""

    __slots__ = ()

    expected = "a network such as 10.0.0.0/8 or fd00::/8, or an address"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a network."""
        try:
            return cls(ip_network(value if isinstance(value, str) else ""))
        except ValueError:
            raise ParseError(f"expected {cls.expected}, got {show(value)}") from None

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """The same as an object."""
        return ip_network(self)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The forwarder.

    Attributes:
        listen: Where clients ask, by UDP and TCP.
        upstream: Resolvers, in the order in which they are asked; the next one is asked when one fails.
        via: How resolvers are reached: direct, node:ID, country:CC or socks5h://[user@]host:port. It has to
            be written out. Through a proxy every query goes by TCP, and fails rather than going direct.
        via_password_file: File with the password for `via`.
        bootstrap: Addresses of resolvers that only find the addresses of upstreams given by name.
        ca_file: Certificates of the authorities that resolvers' certificates are checked against; empty for
            the system's.
        randomize_case: Whether queries by UDP spell names in random case, which forged answers have to match.
        timeout: The longest that one resolver may take.
        deadline: The longest that all of them together may take; then the reply is SERVFAIL.
        allow: Networks that may ask, beside this machine.
        per_client: The most queries a second that a client other than this machine may ask by UDP; 0 for any.
        in_flight: The most queries that may wait for resolvers at once.
        in_flight_per_client: The same for one client other than this machine.
        connections: The most connections of clients at once.
        cache_bytes: Memory for answers.
        max_ttl: The longest that an answer is kept.
        min_ttl: The shortest that an answer is kept, unless it must not be kept at all.
        negative_ttl: The longest that the absence of a name or record is remembered.
        failure_ttl: How long a failure is remembered.
        stale: How long after its end an answer may still be given while no resolver answers; 0s for never.
        stale_after: How long to wait for resolvers before giving a stale answer.
        block: File of names that get no answer, each with all names below it; empty for none.
        doh: Where clients ask over HTTP, at /dns-query; empty for nowhere.
    """

    listen: tuple[Address, ...] = (Address("127.0.0.1:53"),)
    upstream: tuple[UpstreamUrl, ...] = ()
    via: Via | None = None
    via_password_file: str = ""
    bootstrap: tuple[UpstreamUrl, ...] = ()
    ca_file: str = ""
    randomize_case: bool = True
    timeout: Positive = Duration(1.5)
    deadline: Positive = Duration(4.5)
    allow: tuple[Network, ...] = (
        Network("10.0.0.0/8"),
        Network("172.16.0.0/12"),
        Network("192.168.0.0/16"),
        Network("169.254.0.0/16"),
        Network("fc00::/7"),
        Network("fe80::/10"),
    )
    per_client: Annotated[int, msgspec.Meta(ge=0)] = 1000
    in_flight: Count = 500
    in_flight_per_client: Count = 200
    connections: Count = 500
    cache_bytes: Size = Size(64_000_000)
    max_ttl: Positive = Duration(86400)
    min_ttl: Duration = Duration(0)
    negative_ttl: Duration = Duration(3600)
    failure_ttl: Annotated[Duration, msgspec.Meta(ge=1, le=30)] = Duration(5)
    stale: Duration = Duration(0)
    stale_after: Positive = Duration(1.8)
    block: str = ""
    doh: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if any(address.path for address in (*self.listen, *self.doh)):
            raise ValueError("listen: expected addresses and ports, not unix sockets")
        if not self.upstream:
            raise ValueError("upstream: expected at least one resolver")
        if self.via is None:
            raise ValueError("via: expected direct, written out, or a proxy")
        self._refuse_names(self.via)
        for url in (*self.upstream, *self.bootstrap):
            if any(_is_itself(url, address) for address in self.listen):
                raise ValueError(f"upstream: {url} is this forwarder itself")

    def _refuse_names(self, via: Via) -> None:
        """Refuse names that nobody could resolve: the system is never asked."""
        if any(url.scheme not in {"udp", "tcp"} or not is_address(url.host) for url in self.bootstrap):
            raise ValueError("bootstrap: expected addresses, asked by UDP or TCP")
        hosts = [("upstream", url.host) for url in self.upstream] if via == "direct" else []
        hosts += [("via", via.host)] if via.host else []
        for key, host in hosts:
            if not is_address(host) and not self.bootstrap:
                raise ValueError(f"{key}: {host} is a name, which needs a `bootstrap` to be resolved")


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP interface of the forwarder.

    Attributes:
        listen: Where statistics, metrics and health are served.
        names: Whether the names that are asked for most are shown; by default where only this machine can ask.
    """

    listen: tuple[Address, ...] = (Address("127.0.0.1:8053"),)
    names: bool | None = None

    @property
    def shows_names(self) -> bool:
        """Whether the names that are asked for most are shown."""
        return self.names if self.names is not None else all(map(_is_local, self.listen))


def is_address(host: str) -> bool:
    """Whether this is an address, not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def needs_no_balancer(settings: Settings) -> None:
    """Refuse a way that only a balancer knows.

    Raises:
        ConfigError: `via` names a node or a country.
    """
    via = settings.via or ""
    if via.startswith(("node:", "country:")):
        raise ConfigError(
            Fault("dns.via", f"{via} needs a balancer; here it is `direct` or socks5h://HOST:PORT")
        )


def _is_local(address: Address) -> bool:
    host = address.host or ""
    return (
        address.path is not None or host == "localhost" or (is_address(host) and ip_address(host).is_loopback)
    )


def _is_itself(url: UpstreamUrl, address: Address) -> bool:
    if url.scheme not in {"udp", "tcp"} or url.port != address.port or not is_address(url.host):
        return False
    host = ip_address(url.host)
    if host.is_unspecified or address.host is None:
        return True
    return address.host == str(host) or (address.host in {"0.0.0.0", "::"} and host.is_loopback)


def _bracketed(text: str) -> str:
    """An IPv6 address without brackets gets them."""
    return f"[{text}]" if is_address(text) and ":" in text else text
