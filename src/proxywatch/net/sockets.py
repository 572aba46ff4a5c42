"""Listening sockets: every address family, unix sockets, and those that systemd has opened for us."""

import os
import socket
import stat

from proxywatch.errors import ConfigError, Fault
from proxywatch.quantity import Address

BACKLOG = 4096
_FIRST_INHERITED = 3
_RECEIVE_BUFFER = 16 << 10  # the largest request; the kernel doubles both for its own use
_SEND_BUFFER = 128 << 10  # a whole scrape
_KEEP_ALIVE = 60


def bound(address: Address, setting: str) -> list[socket.socket]:
    """Sockets bound to an address; a port without a host is bound for both families.

    Args:
        address: Where.
        setting: Its name, for the error.

    Raises:
        ConfigError: It cannot be bound.
    """
    try:
        if address.path is not None:
            return [_unix(address.path)]
        if address.host is None:
            return [_any(address.port)]
        return [_inet(family, name) for family, name in _resolve(address.host, address.port)]
    except OSError as error:
        raise ConfigError(Fault(setting, f"cannot listen on {address}: {error.strerror or error}")) from error


def inherited(name: str) -> list[socket.socket]:
    """Sockets of the name that systemd's socket activation has opened for this process.

    They are those whose `FileDescriptorName=` is the name; `http` also gets those without one of ours.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names += [""] * (count - len(names))
    wanted = [
        index
        for index in range(count)
        if (names[index] if names[index] in ("http", "health") else "http") == name
    ]
    return [_adopt(_FIRST_INHERITED + index) for index in wanted]


def _adopt(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)  # noqa: FBT003
    return socket.socket(fileno=descriptor)


def forsake_the_vanished(sock: socket.socket, seconds: float) -> None:
    """Have the kernel end connections whose peers do not acknowledge; each takes this over from its listener.

    Args:
        sock: The listening socket.
        seconds: How long what was sent may go unacknowledged, also after we have closed. While there is
            nothing to acknowledge the peer is asked now and then whether it is still there.
    """
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(int(seconds * 1000), 1000))


def describe(sock: socket.socket) -> str:
    """The address as a person would type it."""
    name = sock.getsockname()
    if isinstance(name, str | bytes):
        return f"unix:{os.fsdecode(name)}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _any(port: int) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return _inet(socket.AF_INET, ("0.0.0.0", port))
    try:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        return _bind(sock, ("::", port))
    except OSError as error:
        sock.close()
        if _in_use(error):
            raise
        return _inet(socket.AF_INET, ("0.0.0.0", port))


def _in_use(error: OSError) -> bool:
    return error.errno in (98, 13)


def _resolve(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
    # As bytes, where that will do: a str brings the tables of international names, a quarter of a megabyte.
    wanted = host.encode() if host.isascii() else host
    found = socket.getaddrinfo(wanted, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, (str(name[0]), int(name[1]))) for family, _, _, _, name in found))


def _inet(family: int, name: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return _bind(sock, name)


def _bind(sock: socket.socket, name: tuple[str, int]) -> socket.socket:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection: what the kernel may hold for a client that does not read.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.bind(name)
    except OSError:
        sock.close()
        raise
    return sock


def _unix(path: str) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket of a process that is gone; nobody else's, and no other file."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - pathlib costs 1 MB
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        pass
