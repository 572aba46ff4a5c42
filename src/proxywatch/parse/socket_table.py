"""/proc/self/net/tcp and tcp6: one line per socket after a line of titles (proc(5); net/ipv4/tcp_ipv4.c).

      sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ...
       0: 0100007F:0438 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 26753 1 ...

Addresses, ports, states and queues are hexadecimal; uid and inode are decimal. The kernel writes the table
page by page, and repeats rows when sockets of anybody come or go between two pages: a row counts once.
"""

import re
from collections.abc import Iterable, Iterator

from proxywatch.errors import ParseError
from proxywatch.parse import tcp_socket
from proxywatch.parse.tcp_socket import Socket

_TIME_WAIT = b"06"
_STATE = re.compile(rb"[0-9A-F]{2}")
_REST = re.compile(rb"[0-9A-F]{8}:([0-9A-F]{8}) +\S+ +\S+ +\d+ +\d+ +(\d{1,20})\b")


def parse(lines: Iterable[bytes], port: int) -> Iterator[Socket]:
    """The sockets of a local port, but for those in TIME_WAIT.

    Args:
        lines: The table, its line of titles included.
        port: The local port.

    Raises:
        ParseError: A line of that port that does not follow the format.
    """
    end = b":%04X" % port
    seen = set()
    for line in lines:
        if end not in line:
            continue
        columns = line.split(None, 4)
        if len(columns) < 5:  # noqa: PLR2004 - number, local, remote, state, the rest
            raise ParseError("/proc/self/net/tcp: a line that is cut off")
        _, local, remote, state, rest = columns
        if local.endswith(end) and state != _TIME_WAIT and (local, remote) not in seen:
            seen.add((local, remote))
            yield _socket(state, rest)


def _socket(state: bytes, rest: bytes) -> Socket:
    match = _REST.match(rest)
    if match is None or not _STATE.fullmatch(state):
        raise ParseError("/proc/self/net/tcp: a line without state, queue and inode")
    return Socket(tcp_socket.state(int(state, 16)), int(match[2]), int(match[1], 16))
