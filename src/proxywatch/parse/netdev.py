"""What the kernel tells about network devices, in /proc/net and /sys/class/net.

/proc/self/net/dev: one line per device after two lines of titles (proc(5); net/core/net-procfs.c).

    Inter-|   Receive                                                |  Transmit
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo ...
       wg0: 4897955205 3500128 0 0 0 0 0 0 92812345 1310001 0 0 0 0 0 0

Names may hold any byte but white space and `/`, colons included (`eth0:1`), so the name ends at the last
colon. The counters are 64 bits wide.
"""

import re
from dataclasses import dataclass

from proxywatch.errors import ParseError

UP = 0x1
"""The bit of `flags` that says whether the device was brought up (IFF_UP)."""

_COLUMNS = 16
_LONGEST = 20
_ATTRIBUTE = re.compile(rb"(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})\n?")
_MULTICAST = re.compile(rb"^Ip6OutMcastPkts\s+([0-9]{1,20})\s*$", re.MULTILINE)


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
        if not colon or len(columns) != _COLUMNS or not all(map(_is_counter, columns)):
            raise ParseError("/proc/self/net/dev: a line that names no device with sixteen counters")
        values = [int(column) for column in columns]
        device = Device(name.strip().decode(errors="backslashreplace"), *values[0:4], *values[8:12])
        devices[device.name] = device
    return devices


def attribute(content: bytes) -> int:
    """A number of /sys/class/net/DEVICE: `ifindex` (decimal), `flags` (hexadecimal).

    Raises:
        ParseError: No number.
    """
    match = _ATTRIBUTE.fullmatch(content)
    if not match:
        raise ParseError("/sys/class/net: an attribute that is no number")
    return int(match[1], 16 if match[1].startswith(b"0x") else 10)


def multicast6(content: bytes) -> int:
    """IPv6 multicast packets that a device has sent, from /proc/self/net/dev_snmp6/DEVICE.

    The kernel's own router solicitations and group reports are among a device's transmitted packets, and
    nobody answers them.

    Raises:
        ParseError: The counter is not there.
    """
    match = _MULTICAST.search(content)
    if not match:
        raise ParseError("/proc/self/net/dev_snmp6: no counter Ip6OutMcastPkts")
    return int(match[1])


def _is_counter(column: bytes) -> bool:
    return column.isdigit() and len(column) <= _LONGEST
