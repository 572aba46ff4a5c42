"""Whether the kernel reported every connection that ended, by its own count of those that began.

/proc/self/net/snmp counts the connections of the network namespace that were opened, from here and to here.
Each either lives or has ended. What is missing was not reported: for want of memory, or because this kernel
does not report. Counts and looks are not of one instant, so what is missing counts once three looks in a row
agree. A socket that dials again after it failed is opened anew and ends once: failures beyond those that were
reported are taken for such.
"""

from collections import deque
from typing import NamedTuple, Self

from proxywatch.errors import ParseError

_LOOKS = 3


class Openings(NamedTuple):
    """The kernel's own counts since the machine started.

    Attributes:
        opened: Connections, from here and to here.
        failed: Of these, those that were never established.
    """

    opened: int
    failed: int

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """From /proc/self/net/snmp: two lines for each protocol, `Tcp: ` and names, `Tcp: ` and numbers.

        Raises:
            ParseError: It does not follow its format.
        """
        rows = [line.split() for line in content.splitlines() if line.startswith(b"Tcp:")]
        try:
            names, numbers = rows
            values = dict(zip(names, numbers, strict=True))
            opened = int(values[b"ActiveOpens"]) + int(values[b"PassiveOpens"])
            return cls(opened, int(values[b"AttemptFails"]))
        except (ValueError, KeyError) as error:
            raise ParseError("/proc/self/net/snmp: no counts of opened connections") from error


class Balance:
    """Compares beginnings, ends and the living.

    Attributes:
        unreported: Ends that were not reported; it never falls.
    """

    def __init__(self) -> None:
        self.unreported = 0
        self._start: tuple[int, int] | None = None
        self._last: deque[int] = deque(maxlen=_LOOKS)

    def observe(self, openings: Openings, ended: int, failed: int, living: int) -> None:
        """Take the counts of one look.

        Args:
            openings: The kernel's.
            ended: Ends that were reported, or dropped unread, since we began to listen.
            failed: Of those reported, the ones that were never established.
            living: Connections that live.
        """
        missing, again = openings.opened - ended - living, openings.failed - failed
        if self._start is None:
            self._start = (missing, again)
            return
        since, failed_again = missing - self._start[0], again - self._start[1]
        self._last.append(since - max(failed_again, 0))
        if len(self._last) == _LOOKS:
            self.unreported = max(self.unreported, min(self._last))
