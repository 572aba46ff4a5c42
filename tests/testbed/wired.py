"""A proxy's network namespace, and one for clients and destinations, joined by a wire.

with wired() as sides, sides.proxy.entered(): ...

proxy    10.77.0.2, fd77::2  ----  outside  10.77.0.1, fd77::1
"""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from testbed.namespace import Namespace

ADDRESSES = {4: ("10.77.0.2", "10.77.0.1"), 6: ("fd77::2", "fd77::1")}
"""By version of IP: the proxy's, and the other side's."""


@dataclass(frozen=True)
class Sides:
    """Both of them."""

    proxy: Namespace
    outside: Namespace


@contextmanager
def wired() -> Iterator[Sides]:
    """Make them, until the block ends; needs root."""
    with closing(Namespace("proxy", {})) as proxy, closing(Namespace("outside", {})) as outside:
        wire = f"ip link add wire netns {proxy.pid} type veth peer name wire netns {outside.pid}"
        subprocess.run(wire.split(), check=True)
        for side, number in ((proxy, 0), (outside, 1)):
            side.exec(*f"ip address add {ADDRESSES[4][number]}/24 dev wire".split())
            side.exec(*f"ip address add {ADDRESSES[6][number]}/64 dev wire nodad".split())
            side.exec("ip", "link", "set", "wire", "up")
        yield Sides(proxy, outside)
