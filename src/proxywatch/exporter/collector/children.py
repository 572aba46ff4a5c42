"""Dante's own processes: how many of each kind, and how many of their slots are taken, from their titles.

The server is sought among all processes of the host only while none is known, less and less often up to every
sixteen seconds; after that a reading costs by the number of its own children. It is never sent a signal.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Literal

import msgspec

from proxywatch.clock import Clock
from proxywatch.dante import processes as dante_family
from proxywatch.dante import title as dante_title
from proxywatch.dante.processes import Families
from proxywatch.dante.slots import KINDS, SLOTTED, UNKNOWN, Tally
from proxywatch.dante.title import ENOUGH
from proxywatch.errors import NoData, SourceError
from proxywatch.finding import Finding
from proxywatch.metrics import family as metric
from proxywatch.metrics.family import Family, Metric
from proxywatch.source import file, processes, procfs

PROCESSES = metric.gauge(
    "dante_child_processes",
    "Dante's children by kind; unknown, when its command line was too short for their titles. "
    "Absent while no Dante is found.",
    ["child"],
)
SLOTS = metric.gauge(
    "dante_child_slots",
    "Slots of Dante's children, used and free, as their titles say; absent when these are cut. Dante adds "
    "children before it runs out, so no free slot means that it could not.",
    ["child", "state"],
)
ORPHANS = metric.gauge(
    "dante_orphan_processes",
    "Children of an earlier Dante that still drain its sessions; absent while nothing of Dante is found.",
)

_SHARE = "Share the pid namespace with Dante (`shareProcessNamespace: true` in a pod), or start it."
_CORRECT = "Start Dante, or correct `children.names`, `children.pid_file` or `sockets.port`."
_SEE = "Run as root, so that we may see whose a socket is, or name the server's `children.pid_file`."

_STALE = 10.0
_FIRST_PATIENCE, _LONGEST_PATIENCE = 1.0, 16.0
_BATCH = 64


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dante's processes, and the source of the number of active connections.

    Attributes:
        enabled: Whether to watch its processes.
        active: What proxy_active_connections is counted from: `sockets` on the SOCKS port, used slots of the
            `io` children, sessions open by the `log`, negotiate and request `processes`, or `auto`, the first
            of sockets, io and log that can be read.
        names: What the server's process may be called.
        pid_file: Where the server writes its process id; empty to seek it by name.
    """

    enabled: bool = True
    active: Literal["auto", "sockets", "io", "log", "processes"] = "auto"
    names: tuple[str, ...] = ("danted", "sockd")
    pid_file: str = ""


class Status(msgspec.Struct, frozen=True):
    """The server as it was last read; slots are `used` and `free` by kind of child."""

    server: int | None
    processes: dict[str, int]
    slots: dict[str, dict[str, int]]
    orphans: int


class Unfound(NoData):
    """No server, or none that is surely ours; `fix` says what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class Server:
    """Finds Dante's mother, and follows her and her children.

    Attributes:
        mother: Her process id; None while none is known.
        children: The processes whose titles count.
        orphans: Those that an earlier mother left, as far as they were seen.
    """

    def __init__(self, settings: Settings, clock: Clock, listening: Callable[[], set[int] | None]) -> None:
        """Be handed what is needed to find her.

        Args:
            settings: Her names, or her pid file.
            clock: For not seeking too often.
            listening: Returns the inodes of the sockets that listen on the SOCKS port; None when not known.
        """
        self.mother: int | None = None
        self.children: frozenset[int] = frozenset()
        self.orphans: frozenset[int] = frozenset()
        self._mothers: frozenset[int] = frozenset()
        self._settings = settings
        self._clock = clock
        self._listening = listening
        self._heard: set[int] | None = None
        self._sought = float("-inf")
        self._patience = _FIRST_PATIENCE
        self._why = ("", "")

    async def follow(self, *, at_once: bool = False) -> None:
        """Renew what is known of her; seek her if she is gone, less and less often, or at once.

        Raises:
            Unfound: She is not there, or not told from others.
        """
        if self.mother is not None:
            self._renew(self.mother)
        if self.mother is None and (at_once or self._clock.monotonic() - self._sought >= self._patience):
            self._sought = self._clock.monotonic()
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
            await self._seek()
        if self.mother is None:
            raise Unfound(*self._why)
        self._patience = _FIRST_PATIENCE

    async def hear(self) -> None:
        """Wait a second at most until it is known who listens on the SOCKS port."""
        for _ in range(20):
            if self._listening() is not None:
                break
            await self._clock.sleep_until(self._clock.monotonic() + 0.05)

    def _renew(self, mother: int) -> None:
        """Ask her and the further mothers for their children."""
        try:
            known = self._mothers if self._is_named(mother) else ()
            children = frozenset(child for pid in known for child in procfs.children(pid)) - self._mothers
        except SourceError:  # a kernel without lists of children: what was found holds for a while
            children = self.children if self._clock.monotonic() - self._sought < _STALE else frozenset()
        replaced = self._is_replaced(mother)
        if children and not replaced:
            self.children = children
            return
        if not replaced:
            self.orphans |= self.children
        self._why = ("Dante has ended", "Start it.")
        self.mother, self.children = None, frozenset()

    @property
    def pids(self) -> frozenset[int]:
        """All processes of Dante that are known."""
        known = self._mothers if self.mother is not None else frozenset()
        return known | self.children | self.orphans

    def adopt(self, untitled: int) -> None:
        """Take a child that bears its mother's command line for a further mother, if it has children.

        Else it was forked a moment ago, and has not written its title yet.
        """
        with suppress(SourceError):
            if procfs.children(untitled):
                self._mothers |= {untitled}

    def _is_replaced(self, mother: int) -> bool:
        """Whether another process has begun to listen on the SOCKS port; looked at when that changes."""
        listening = self._listening()
        if self._settings.pid_file or not listening or listening == self._heard:
            return False
        self._heard = listening
        return self._listens(mother) is False

    def _is_named(self, pid: int) -> bool:
        return procfs.name(pid) in self._settings.names

    async def _seek(self) -> None:
        parents = dict(await processes.named(self._settings.names))
        families = dante_family.sort(parents)
        if len(families.servers) <= 1:
            self.orphans |= families.orphans
        try:
            self.mother = self._choose(families)
        except Unfound as error:
            self._why = (str(error), error.fix)
            return
        family = families.servers.get(self.mother, frozenset())
        self._mothers = (family & set(parents.values())) | {self.mother}
        self.children = family - self._mothers
        self.orphans -= self.children

    def _choose(self, families: Families) -> int:
        if self._settings.pid_file:
            return self._from_pid_file()
        names = " or ".join(self._settings.names)
        if not families.servers:
            raise Unfound(f"no process named {names} is visible", _SHARE)
        verdicts = {pid: self._listens(pid) for pid in families.servers}
        ours = [pid for pid, listens in verdicts.items() if listens]
        ours = ours or [pid for pid, listens in verdicts.items() if listens is None]
        if len(ours) == 1:
            return ours[0]
        if not ours:
            raise Unfound(f"no process named {names} listens on the SOCKS port", _CORRECT)
        raise Unfound(f"{len(ours)} servers named {names}, and none can be told to be ours", _SEE)

    def _from_pid_file(self) -> int:
        try:
            content = file.read(self._settings.pid_file, 64).strip()
        except SourceError as error:
            raise Unfound(str(error), _CORRECT) from error
        pid = int(content) if content.isdigit() else 0
        if not self._is_named(pid):
            raise Unfound(f"{self._settings.pid_file} names no running Dante", _CORRECT)
        return pid

    def _listens(self, pid: int) -> bool | None:
        """Whether it listens on the SOCKS port; None when we cannot know."""
        listening = self._listening()
        if listening is None:
            return None
        try:
            return bool(listening and procfs.sockets(pid) & listening)
        except SourceError:
            return None


class ChildrenCollector:
    """A reading collector."""

    name = "children"
    timeout = 10.0

    def __init__(self, server: Server) -> None:
        """Be handed the server."""
        self._server = server
        self._tally: Tally | None = None
        self._looked = False

    def describe(self) -> Sequence[Family]:
        """Processes, slots, orphans."""
        return (PROCESSES, SLOTS, ORPHANS)

    async def update(self) -> None:
        """Read the titles of the server's children.

        Raises:
            Unfound: No server; what orphans say is published all the same.
        """
        await self._update()

    async def _update(self, *, at_once: bool = False) -> None:
        self._tally = None
        try:
            await self._server.follow(at_once=at_once)
        except Unfound:
            self._looked = True
            tally = await self._read()
            self._tally = tally if tally.orphans else None
            raise
        self._looked = True
        self._tally = await self._read()

    async def _read(self) -> Tally:
        tally = Tally()
        server = self._server
        own = procfs.command_line(server.mother or 0)
        orphans = set()
        for index, pid in enumerate((*server.children, *server.orphans)):
            if index % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
            line = procfs.command_line(pid)
            title = dante_title.parse(line)
            if pid in server.children:
                if line == own:
                    server.adopt(pid)
                elif line:  # else it has ended on the way
                    tally.child(title)
            elif title:
                orphans.add(pid)
                tally.orphan(title)
        server.orphans = frozenset(orphans)
        return tally

    def pids(self) -> frozenset[int] | None:
        """The processes of Dante that are known; None before the first look."""
        return self._server.pids if self._looked else None

    def io_slots(self) -> int | None:
        """Used slots of the io children; None when they are not known."""
        return self._tally.slots("io") if self._tally else None

    def slots(self) -> int | None:
        """Used slots of all children: one per connection, whatever Dante does with it, but for a lag."""
        return self._tally.slots(*SLOTTED) if self._tally else None

    def processes(self) -> int | None:
        """Negotiate and request children; None when kinds are not known."""
        tally = self._tally
        if tally is None or tally.processes[UNKNOWN]:
            return None
        return tally.processes["negotiate"] + tally.processes["request"]

    def collect(self) -> Iterator[Metric]:
        """Every kind of child, and the slots of those whose titles are whole."""
        status = self.status()
        yield PROCESSES.values({(kind,): count for kind, count in status.processes.items()})
        yield SLOTS.values(
            {(child, state): count for child, slots in status.slots.items() for state, count in slots.items()}
        )
        yield ORPHANS.value(self._tally.orphans if self._tally else None)

    async def examine(self) -> Sequence[Finding]:
        """Is the server found, and are its children's titles whole?"""
        await self._server.hear()
        try:
            await self._update(at_once=True)
        except Unfound as error:
            return [Finding.fault(str(error), error.fix)]
        status = self.status()
        findings = [
            Finding.ok(f"Dante is process {status.server}, with {sum(status.processes.values())} children")
        ]
        room = len(procfs.command_line(status.server or 0)) - 1
        if room < ENOUGH and self.slots() is None:
            text = f"Dante's command line has {room} characters, too few for its children to show their slots"
            fix = f"Start it with {ENOUGH} or more, for example `/usr/sbin/danted -f /etc/danted.conf`."
            findings.append(Finding.hint(text, fix))
        if full := [kind for kind, slots in status.slots.items() if slots["used"] and not slots["free"]]:
            text = f"Dante has no free slot in its {' and '.join(full)} children, and cannot add children"
            findings.append(Finding.fault(text, "Raise the limit of open files that it is started with."))
        if status.orphans:
            findings.append(Finding.ok(f"{status.orphans} children of an earlier Dante drain their sessions"))
        return findings

    def status(self) -> Status:
        """The server, its children and slots; empty when not known."""
        tally = self._tally or Tally()
        kinds = KINDS if self._tally else ()
        return Status(
            server=self._server.mother,
            processes={kind: tally.processes[kind] for kind in kinds},
            slots={
                kind: {"used": tally.used[kind], "free": tally.free[kind]}
                for kind in SLOTTED
                if kind in kinds and tally.slots(kind) is not None
            },
            orphans=tally.orphans,
        )


def build(settings: Settings, clock: Clock, listening: Callable[[], set[int] | None]) -> ChildrenCollector:
    """The collector on the real /proc."""
    return ChildrenCollector(Server(settings, clock, listening))
