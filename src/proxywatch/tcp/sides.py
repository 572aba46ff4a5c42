"""On which side of the proxy a connection is.

A client's has the proxy's port on this side. One to a destination is opened from here, by the proxy: so its
port is none that somebody listens on, it leaves this machine, and it is not ours.
In a network namespace that is the proxy's alone, all that remains is the proxy's. On a host that others
share, the control group or the user of the socket tells, and only while the socket lives.
"""

from collections.abc import Callable
from typing import Literal

from proxywatch.parse.tcp_info import Row
from proxywatch.tcp import totals

Scope = Literal["all", "owner", "off"]
Side = Literal["client", "upstream", "own", "unattributed", ""]

CLIENT: Side = totals.CLIENT
UPSTREAM: Side = totals.UPSTREAM
OWN: Side = "own"
UNATTRIBUTED: Side = "unattributed"
NOBODY: Side = ""
_ROOT = 1  # the id of the root control group, which tells nobody apart
_LINGER = 60.0
"""Connections of a listener that has ended go on for a while."""


class Sides:
    """Tells sides apart.

    Attributes:
        port: The proxy's.
        scope: Which connections from here are the proxy's: all, those of its owner, or none is counted.
        served: Whether anybody has ever listened on the proxy's port. Before that no connection is its.
    """

    def __init__(
        self,
        port: int,
        is_own: Callable[[bytes, int], bool],
        is_local: Callable[[bytes], bool],
    ) -> None:
        """Take what is needed to tell.

        Args:
            port: The proxy's.
            is_own: Whether an address and port are, or just were, those of a socket of our own probes.
            is_local: Whether an address is one of this machine.
        """
        self.port = port
        self.scope: Scope = "all"
        self.served = False
        self._is_own = is_own
        self._is_local = is_local
        self._listening: dict[int, float] = {}
        self._cgroups: set[int] = set()
        self._users: set[int] = set()

    def listens(self, row: Row, cgroup: int | None, now: float) -> None:
        """Note a socket that listens."""
        self._listening[row.local_port] = now
        if row.local_port == self.port:
            self.served = True
            self._owned(row.uid, cgroup)

    def forget(self, now: float) -> None:
        """Forget ports that nobody has listened on for a minute."""
        self._listening = {port: at for port, at in self._listening.items() if now - at <= _LINGER}

    @property
    def is_served(self) -> bool:
        """Whether somebody listens on the proxy's port, or did a minute ago."""
        return self.port in self._listening

    def of_living(self, row: Row, cgroup: int | None) -> Side:
        """The side of a connection that a look has found."""
        side = self._by_ports(row)
        if side == CLIENT and row.inode:
            self._owned(row.uid, cgroup)
        if side != UPSTREAM or self.scope == "all":
            return side
        return UPSTREAM if self.scope == "owner" and self._is_owners(row.uid, cgroup) else NOBODY

    def of_ended(self, row: Row) -> Side:
        """The side of a connection that has ended and that no look had found."""
        side = self._by_ports(row)
        if side != UPSTREAM or self.scope == "all":
            return side
        return UNATTRIBUTED if self.scope == "owner" else NOBODY

    def _by_ports(self, row: Row) -> Side:
        port = row.local_port
        if port == self.port:
            return OWN if self._is_own(row.remote, row.remote_port) else CLIENT
        if not self.served or not port or port in self._listening:
            return NOBODY
        if self._is_local(row.remote) or self._is_own(row.local, port):
            return NOBODY
        return UPSTREAM

    def _owned(self, uid: int, cgroup: int | None) -> None:
        if cgroup is not None and cgroup != _ROOT:
            self._cgroups.add(cgroup)
        else:
            self._users.add(uid)

    def _is_owners(self, uid: int, cgroup: int | None) -> bool:
        return cgroup in self._cgroups if self._cgroups else uid in self._users
