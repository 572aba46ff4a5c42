"""Control groups, version 2 and version 1: cgroups(7), and admin-guide/cgroup-v2 of the kernel.

/proc/PID/cgroup has a line HIERARCHY:CONTROLLERS:PATH for each hierarchy that the process is in. Version 2 is
one hierarchy, 0, without controllers in its line; a host may have both versions. A path that begins with
`/..` is outside of what our cgroup namespace shows.

    0::/system.slice/danted.service
    4:memory:/docker/6b1f...

A pod's containers have a group each, in a group whose name holds `pod` and the pod's uid.
"""

import re
from collections.abc import Mapping

from proxywatch.errors import ParseError

UNIFIED = ""  # the key of version 2
_NUMBER = re.compile(rb"[0-9]{1,20}")
_POD = re.compile(r"(/(?:.*/)?[^/]*pod[0-9a-f]{8}[-_][0-9a-f_-]{1,40}(?:\.slice)?)/.*")
_NO_LIMIT = 1 << 60  # version 1 writes the largest multiple of a page


def groups(content: bytes) -> Mapping[str, str]:
    """The path of a process's group by controller, from /proc/PID/cgroup.

    Raises:
        ParseError: A line that is not of three parts.
    """
    found: dict[str, str] = {}
    for line in content.decode(errors="surrogateescape").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3 or not parts[2].startswith("/"):  # noqa: PLR2004
            raise ParseError("/proc/PID/cgroup: a line that is not HIERARCHY:CONTROLLERS:PATH")
        found |= dict.fromkeys(parts[1].split(","), parts[2])
    return found


def pod(path: str) -> str:
    """The group of the pod that a container's group is in; the group itself when it is in none."""
    match = _POD.fullmatch(path)
    return match[1] if match else path


def number(content: bytes) -> int:
    """A file that holds one number.

    Raises:
        ParseError: It does not.
    """
    if not _NUMBER.fullmatch(content.strip()):
        raise ParseError("a control group's file that holds no number")
    return int(content)


def limit(content: bytes) -> int | None:
    """A file that holds a limit in bytes; None for no limit.

    Raises:
        ParseError: It holds neither.
    """
    if content.strip() == b"max":
        return None
    bytes_allowed = number(content)
    return bytes_allowed if bytes_allowed < _NO_LIMIT else None


def statistics(content: bytes) -> Mapping[str, int]:
    """A file of lines KEY NUMBER, as `cpu.stat` and `memory.stat` are; other lines are left out."""
    found = {}
    for line in content.splitlines():
        key, _, value = line.partition(b" ")
        if _NUMBER.fullmatch(value):
            found[key.decode(errors="replace")] = int(value)
    return found
