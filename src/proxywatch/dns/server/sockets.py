"""Sockets to listen on."""

import socket

from proxywatch.errors import ConfigError, Fault
from proxywatch.quantity import Address

_WILDCARDS = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}
_BUFFER = 1 << 20
_TRIES = 20


def places(address: Address) -> list[tuple[int, str, int]]:
    """(family, host, port) of an address; one without a host is every address of both families."""
    if address.host is None:
        return [(family, host, address.port) for host, family in _WILDCARDS.items()]
    return [(socket.AF_INET6 if ":" in address.host else socket.AF_INET, address.host, address.port)]


def pair(place: tuple[int, str, int], setting: str) -> tuple[socket.socket, socket.socket]:
    """A socket for UDP and one for TCP on the same port, also where the kernel chooses it.

    Raises:
        ConfigError: The address cannot be used.
    """
    family, host, port = place
    for left in reversed(range(_TRIES)):
        udp = bind(socket.SOCK_DGRAM, place, setting)
        try:
            return udp, bind(socket.SOCK_STREAM, (family, host, udp.getsockname()[1]), setting)
        except ConfigError:
            udp.close()
            if port or not left:
                raise
    raise AssertionError


def bind(kind: int, place: tuple[int, str, int], setting: str) -> socket.socket:
    """A bound socket that does not block; for UDP one that tells to which address a packet was sent.

    Raises:
        ConfigError: The address cannot be used.
    """
    family, host, port = place
    sock = socket.socket(family, kind)
    try:
        sock.settimeout(0)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(Fault(setting, f"cannot listen on {host} port {port}: {error.strerror}")) from None
    return sock
