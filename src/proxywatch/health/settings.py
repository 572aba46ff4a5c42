"""TCP on :9999: is the process alive, does the proxy work, is the tunnel up?

Light to import, as a container's engine runs `proxywatch healthcheck` every few seconds.
"""

from typing import Annotated

import msgspec

from proxywatch.net.addresses import Addresses
from proxywatch.quantity import Duration


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The health port.

    Attributes:
        listen: Where: an address, a unix socket, or several of them with commas between.
        require: Collectors without whose recent success the pod is not ready.
        max_connections: Connections that may be open at once; for one more the oldest is answered at once.
        silence: How long a client may be silent before it is answered as if it had asked for `/`.
    """

    listen: Addresses = Addresses.parse(":9999")
    require: tuple[str, ...] = ("latency",)
    max_connections: Annotated[int, msgspec.Meta(ge=1)] = 4096
    silence: Duration = Duration(1)
