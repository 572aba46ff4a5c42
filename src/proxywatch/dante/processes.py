"""Who belongs to which Dante.

A server is a mother with her children; started with `-N`, she has further mothers among them. When a mother
dies, her io children live on as orphans for as long as their sessions last.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple


class Families(NamedTuple):
    """All Dantes that were seen.

    Attributes:
        servers: The descendants of each first mother.
        orphans: Processes without parent and without child among the others.
    """

    servers: dict[int, frozenset[int]]
    orphans: frozenset[int]


def sort(parents: Mapping[int, int]) -> Families:
    """Tell servers and orphans apart.

    Args:
        parents: The parent of every process that bears Dante's name.
    """
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    roots = [pid for pid, parent in parents.items() if parent not in parents]
    servers = {pid: frozenset(_descendants(children[pid], children)) for pid in roots if pid in children}
    return Families(servers, frozenset(roots) - servers.keys())


def _descendants(pids: Iterable[int], children: Mapping[int, list[int]]) -> Iterable[int]:
    pending = list(pids)
    for pid in pending:
        pending.extend(children.get(pid, ()))
    return pending


def conf_path(command_line: bytes) -> str:
    """The danted.conf that a server was started with by `-f`; empty where it was not.

    Args:
        command_line: Of its mother, the arguments each ended by a NUL.
    """
    arguments = command_line.split(b"\0")
    for option, value in pairwise(arguments):
        if option == b"-f":
            return value.decode(errors="replace")
    joined = next((it for it in arguments[1:] if it.startswith(b"-f") and len(it) > len(b"-f")), b"")
    return joined.removeprefix(b"-f").decode(errors="replace")
