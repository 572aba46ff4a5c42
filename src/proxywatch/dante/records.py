"""What a line of Dante's log says, as a record."""

from typing import Final, Literal

import msgspec

Command = Literal["accept", "connect", "bind", "bindreply", "udpassociate", "udpreply", "hostid"]
COMMANDS: Final[dict[bytes, Command]] = {
    b"accept": "accept", b"connect": "connect", b"bind": "bind", b"bindreply": "bindreply",
    b"udpassociate": "udpassociate", b"udpreply": "udpreply", b"hostid": "hostid",
}  # fmt: skip
UNKNOWN_DURATION = -1


class _Keyed(msgspec.Struct, frozen=True, gc=False):
    """A line that names a client's connection.

    Attributes:
        key: The client's endpoint and the proxy's, a space between, as the server writes them.
    """

    key: bytes

    @property
    def client(self) -> bytes:
        """The client's endpoint, `ADDRESS.PORT`; for UDP that of its datagrams."""
        return self.key.rpartition(b" ")[0]

    @property
    def proxy(self) -> bytes:
        """The proxy's endpoint that the client talks to."""
        return self.key.rpartition(b" ")[2]


class Opened(_Keyed, frozen=True, gc=False, tag=True):
    """A `[` line: a connection was accepted, or a request granted.

    Attributes:
        time: Unix time in seconds, or less than 1e9: since the start of a leap year (see `envelope`).
        pid: The child that wrote it.
        command: What was opened.
    """

    time: float
    pid: bytes
    command: Command


class Moved(msgspec.Struct, frozen=True, gc=False):
    """The counters of an end.

    Attributes:
        sent: Bytes written to the client; for UDP with the headers of SOCKS.
        received: Bytes from the client that were written to the target.
        returned: Bytes read from the target; not in an accept line.
        packets: Datagrams to the client; 0 for TCP.
    """

    sent: int
    received: int
    returned: int
    packets: int = 0


class Closed(_Keyed, frozen=True, gc=False, tag=True):
    """A `]` line: a request or a connection ended, or was refused.

    Attributes:
        time, pid, command: As in Opened.
        target: The target's endpoint, perhaps with a name for the address; empty where there is none.
        reason: Why, in the server's words; empty for a rule that blocks.
        passed: The verdict; says nothing of success.
        moved: The counters; None where the line has none.
        duration: Since the accept in whole seconds, rounded down or up; -1 where the line has none.
    """

    time: float
    pid: bytes
    command: Command
    target: bytes
    reason: bytes
    passed: bool
    moved: Moved | None = None
    duration: int = UNKNOWN_DURATION


class Datagram(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A `block ... -` line: a datagram was not forwarded; its association goes on."""

    time: float
    target: bytes
    reason: bytes


class Relayed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A `pass ... -` line: data went through; written under `data` and `iooperation`."""

    time: float


class Server(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Something about the server itself.

    Attributes:
        time: As in Opened.
        event: `running`, `ending` (its mother says so or its children miss her), `reloaded`, or `child_died`.
        pid: The child that died; else who wrote it.
        version: Of one that is `running`.
    """

    time: float
    event: Literal["running", "ending", "reloaded", "child_died"]
    pid: bytes
    version: str = ""


class Ambiguous(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A line that a name in it lets be read in several ways.

    Attributes:
        time: As in Opened.
        readings: All of them; empty where they are too many.
    """

    time: float
    readings: tuple[Opened | Closed, ...]


Record = Opened | Closed | Datagram | Relayed | Server | Ambiguous
