"""Settings of the relay: the section `relay`."""

from ipaddress import ip_address
from typing import Annotated, Literal

import msgspec

from proxywatch.balancer import wishes
from proxywatch.balancer.relay import deny
from proxywatch.errors import ParseError
from proxywatch.quantity import Address, Duration

Count = Annotated[int, msgspec.Meta(ge=1)]


class Listener(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One more address to serve on.

    Attributes:
        listen: Where to listen.
        wishes: What clients of this address get unless they wish for something else, as in a user name:
            country-se.
        auth: Whether clients of this address have to log in; as of the relay unless said.
    """

    listen: Address = Address("127.0.0.1:0")
    wishes: str = ""
    auth: Literal["", "required", "none"] = ""


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """TLS in front of the relay.

    Attributes:
        cert_file: The certificate with its chain, in PEM.
        key_file: Its key.
    """

    cert_file: str = ""
    key_file: str = ""


class ProxyProtocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The PROXY protocol of load balancers before the relay.

    Attributes:
        trusted: Addresses and networks that must send its header; from all others it is refused.
    """

    trusted: tuple[str, ...] = ()


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The relay, which clients talk to.

    Attributes:
        listen: Where to listen for SOCKS and HTTP clients.
        users_file: File of users, lines of `name:bcrypt hash[:options]`; empty for no users.
        auth: Whether clients have to log in; empty for "as soon as there are users".
        tls: TLS toward the clients.
        proxy_protocol: The PROXY protocol of load balancers before the relay.
        listeners: More addresses, each with wishes of its own.
        handshake_timeout: How long a client may take from connecting to its complete request.
        keep_alive_timeout: How long an HTTP connection may wait for its next request.
        dial_timeout: How long one node may take until it has opened the connection.
        idle_timeout: How long a connection may be silent in both directions.
        user_timeout: How long what was sent may stay unacknowledged before the kernel gives a connection up.
        drain: How long open connections may go on when the process is to end.
        deny: What no client may reach: loopback, link-local, metadata, private, networks, names, domains
            (.example.com).
        max_connections: Connections that may be open at once.
        max_handshakes: Clients that may be connected without a complete request; beyond it the oldest is
            closed.
        workers: Processes that share the address.
    """

    listen: Address = Address("127.0.0.1:1080")
    users_file: str = ""
    auth: Literal["", "required", "none"] = ""
    tls: Tls = Tls()
    proxy_protocol: ProxyProtocol = ProxyProtocol()
    listeners: tuple[Listener, ...] = ()
    handshake_timeout: Duration = Duration(10)
    keep_alive_timeout: Duration = Duration(60)
    dial_timeout: Duration = Duration(10)
    idle_timeout: Duration = Duration(3600)
    user_timeout: Duration = Duration(60)
    drain: Duration = Duration(300)
    deny: tuple[str, ...] = ("loopback", "link-local", "metadata", "private")
    max_connections: Count = 12000
    max_handshakes: Count = 2000
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1

    def __post_init__(self) -> None:
        """Refuse what would serve everybody by mistake, and what cannot be."""
        faults = [*self._open_to_all(), *self._unreadable()]
        if self.auth == "required" and not self.users_file:
            faults.append("auth: `required` needs a users_file")
        if bool(self.tls.cert_file) != bool(self.tls.key_file):
            faults.append("tls: cert_file and key_file belong together")
        if faults:
            raise ValueError("\n".join(faults))

    def needs_login(self, listener: Listener | None = None) -> bool:
        """Whether clients of a listener have to log in."""
        auth = (listener.auth if listener else "") or self.auth
        return auth != "none" and bool(self.users_file)

    def _open_to_all(self) -> list[str]:
        places = [("listen", self.listen, self.auth)]
        places += [
            (f"listeners[{place}]", one.listen, one.auth or self.auth)
            for place, one in enumerate(self.listeners)
        ]
        return [
            f"{key}: beyond loopback without users; set relay.users_file, or relay.auth: none on purpose"
            for key, address, auth in places
            if not self.users_file and auth != "none" and not is_local(address)
        ]

    def _unreadable(self) -> list[str]:
        faults = []
        if wrong := deny.check(self.deny):
            faults.append(f"deny: {wrong}")
        for place, one in enumerate(self.listeners):
            try:
                wishes.listed(one.wishes) if one.wishes else None
            except ParseError as error:
                faults.append(f"listeners: [{place}].wishes: {error}")
        return faults


def is_local(address: Address) -> bool:
    """Whether only this machine can reach an address."""
    if address.path is not None or address.host == "localhost":
        return True
    try:
        return ip_address(address.host or "::").is_loopback
    except ValueError:
        return False
