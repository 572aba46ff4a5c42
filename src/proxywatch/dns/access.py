"""Who may ask: loopback, and the networks that the operator allows; nobody else: this is no open resolver."""

from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

Standing = Literal["local", "allowed", "refused"]
_REMEMBERED = 4096


class Access:
    """The list, with the last few thousand clients remembered."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        self._known: OrderedDict[str, Standing] = OrderedDict()

    def standing(self, client: str) -> Standing:
        """Judge a client by its address; what is none is refused."""
        known = self._known.get(client)
        if known is None:
            known = self._known[client] = self._judge(client)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known

    def _judge(self, client: str) -> Standing:
        try:
            address = ip_address(client.partition("%")[0])
        except ValueError:
            return "refused"
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if address.is_loopback:
            return "local"
        allowed = any(address.version == each.version and address in each for each in self._networks)
        return "allowed" if allowed else "refused"
