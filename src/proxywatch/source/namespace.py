"""The network namespace that we are in, as far as the machine shows it."""

import os
import socket
from contextlib import suppress


def has_hardware() -> bool:
    """Whether a device of it is hardware, real or virtual: then it is a host's own, and not a container's."""
    folder = "/sys/class/net"
    try:
        return any(os.path.exists(f"{folder}/{name}/device") for name in os.listdir(folder))  # noqa: PTH110, PTH208
    except OSError:
        return False


def is_local(address: bytes) -> bool:
    """Whether an address, of 4 or 16 bytes, is one of this namespace: only such can be bound."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6  # noqa: PLR2004 - bytes of an address
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((socket.inet_ntop(family, address), 0))
    except OSError:
        return False
    return True


def connect_to_itself() -> bool:
    """Open one connection over the loopback device and close it; whether that was possible."""
    with suppress(OSError), socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        with socket.create_connection(listener.getsockname(), 1), listener.accept()[0]:
            return True
    return False
