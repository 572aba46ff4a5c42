"""/proc/net/tcp and tcp6: one line per socket after a line of titles (proc(5); net/ipv4/tcp_ipv4.c).

      sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ...
       0: 0100007F:0438 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 26753 1 ...

Addresses, ports, states and queues are hexadecimal; uid and inode are decimal.
"""

from collections.abc import Iterable, Iterator

from proxywatch.errors import ParseError
from proxywatch.parse import tcp_socket
from proxywatch.parse.tcp_socket import Socket

_TIME_WAIT = b"06"


def parse(lines: Iterable[bytes], port: int) -> Iterator[Socket]:
    """The sockets of a local port, but for those in TIME_WAIT.

    Args:
        lines: The table, its line of titles included.
        port: The local port.

    Raises:
        ParseError: A line of that port that does not follow the format.
    """
    end = b":%04X" % port
    for line in lines:
        if end not in line:
            continue
        columns = line.split(None, 4)
        if len(columns) < 5:  # noqa: PLR2004 - number, local, remote, state, the rest
            raise ParseError("/proc/net/tcp: a line that is cut off")
        if columns[1].endswith(end) and columns[3] != _TIME_WAIT:
            yield _socket(columns[3], columns[4].split())


def _socket(state: bytes, columns: list[bytes]) -> Socket:
    """Of the columns after the state, the first is tx:rx and the sixth the inode."""
    try:
        queue = int(columns[0].partition(b":")[2], 16)
        return Socket(tcp_socket.state(int(state, 16)), int(columns[5]), queue)
    except (IndexError, ValueError) as error:
        raise ParseError("/proc/net/tcp: a line without state, queue and inode") from error
