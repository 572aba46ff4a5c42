"""Settings of the API."""

import msgspec

from proxywatch.net.addresses import Addresses


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The API, the page and the metrics.

    Attributes:
        listen: Where: an address, a unix socket, or several of them with commas between.
        users_file: htpasswd lines with bcrypt hashes, `user:hash[:role=read|operate]`. Without it, or a tokens_file,
            the API listens on loopback only, and everybody may do everything.
        tokens_file: Lines `name:token[:role=read|operate]` for `Authorization: Bearer`.
        hosts: Names under which the API is reached, besides its addresses and `localhost`.
        trusted_proxies: Networks whose X-Forwarded-For is believed in audit lines.
        socket: A unix socket for the commands of the same user; empty for none.
        max_connections: Connections that may be open at once.
    """

    listen: Addresses = Addresses.parse("127.0.0.1:8080")
    users_file: str = ""
    tokens_file: str = ""
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    socket: str = ""
    max_connections: int = 4096
