"""The kernel's socket diagnostics (sock_diag(7)), and what else it shows of connections from and to here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from proxywatch.source import file, namespace, netlink
from proxywatch.source.broadcasts import Broadcasts

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_TCP_DESTROY = 1 << 0 | 1 << 2  # the groups SKNLGRP_INET_TCP_DESTROY and SKNLGRP_INET6_TCP_DESTROY
_PORTS = (16 + 5, 16 + 7)  # the lower bytes of the local and the remote port


class Messages(Protocol):
    """What the kernel sends; Broadcasts is one."""

    buffer: int
    overruns: int

    def read(self, most: int) -> list[bytes]:
        """What has come."""

    def dropped(self) -> int | None:
        """How many were lost."""

    async def wait(self, seconds: float) -> None:
        """Until something has come."""

    def close(self) -> None:
        """The end."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is asked of the kernel; tests put others in the places.

    Attributes:
        listen: Begins to listen for reports of TCP sockets that end; SourceError.
        dump: The sockets that a request asks for, datagram by datagram; SourceError.
        snmp: The content of /proc/self/net/snmp; SourceError.
        is_local: Whether an address is one of this namespace.
        is_shared: Whether the namespace is a host's.
        try_out: Opens and closes a connection; whether that was possible.
    """

    listen: Callable[[], Messages]
    dump: Callable[[bytes], Iterator[list[bytes]]]
    snmp: Callable[[], bytes]
    is_local: Callable[[bytes], bool]
    is_shared: Callable[[], bool]
    try_out: Callable[[], bool]


def listen(buffer: int = 4 << 20, most: int | None = None) -> Broadcasts:
    """Begin to listen for reports of TCP sockets that end.

    Args:
        buffer: Bytes that the kernel may hold for us.
        most: Bytes to ask for at most for each socket; None for all of them.

    Raises:
        SourceError: Refused, or not known here (not temporary).
    """
    return Broadcasts(
        _NETLINK_SOCK_DIAG, _TCP_DESTROY, _SOCK_DIAG_BY_FAMILY, buffer=buffer, most=most, parting=_PORTS
    )


KERNEL = Kernel(
    listen=listen,
    dump=lambda request: netlink.dump(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, request),
    snmp=lambda: file.read("/proc/self/net/snmp"),
    is_local=namespace.is_local,
    is_shared=namespace.has_hardware,
    try_out=namespace.connect_to_itself,
)
