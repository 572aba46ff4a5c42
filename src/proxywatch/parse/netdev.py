"""/proc/net/dev: one line per device after two lines of titles (proc(5); net/core/net-procfs.c).

    Inter-|   Receive                                                |  Transmit
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo ...
       wg0: 4897955205 3500128 0 0 0 0 0 0 92812345 1310001 0 0 0 0 0 0

Names may hold any byte but white space and `/`, colons included (`eth0:1`), so the name ends at the last
colon. The counters are 64 bits wide.
"""

from dataclasses import dataclass

from proxywatch.errors import ParseError

_COLUMNS = 16


@dataclass(frozen=True, slots=True)
class Device:
    """Counters of one device since it was created."""

    name: str
    receive_bytes: int
    receive_packets: int
    receive_errors: int
    receive_drops: int
    transmit_bytes: int
    transmit_packets: int
    transmit_errors: int
    transmit_drops: int


def parse(content: bytes) -> dict[str, Device]:
    """Every device by name.

    Raises:
        ParseError: A line that is no device line.
    """
    devices = {}
    for line in content.splitlines()[2:]:
        name, colon, counters = line.rpartition(b":")
        columns = counters.split()
        if not colon or len(columns) != _COLUMNS or not all(column.isdigit() for column in columns):
            raise ParseError("/proc/net/dev: a line that names no device with sixteen counters")
        values = [int(column) for column in columns]
        device = Device(name.strip().decode(errors="backslashreplace"), *values[0:4], *values[8:12])
        devices[device.name] = device
    return devices
