"""A side of the test bed: network, mount and pid namespaces of its own, held by one small process.

The holder is PID 1 of its side and reads a pipe that this process holds: when we end, however we end, the
pipe closes, PID 1 leaves, and the kernel ends whatever runs inside. Nothing has a name outside.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Inside(subprocess.Popen[str]):
    """A process inside a side; signals go to the process itself, not to the nsenter that waits for it."""

    def send_signal(self, sig: int) -> None:
        """Send a signal; a process that has ended is left alone."""
        if self.poll() is None:
            os.kill(child_of(self.pid) or self.pid, sig)


class Namespace:
    """One side.

    Attributes:
        name: For messages.
        pid: The holder, as seen from outside: `/proc/PID/net/dev`, `/proc/PID/root/...`.
    """

    def __init__(self, name: str, binds: Mapping[Path, str]) -> None:
        """Make the namespaces.

        Args:
            name: For messages.
            binds: A path of ours to be seen inside at a path that exists there.
        """
        self.name = name
        self._processes: list[Inside] = []
        mounts = "".join(f"mount --bind {here} {there}; " for here, there in binds.items())
        script = (
            f"set -e; mount -t sysfs sysfs /sys; {mounts}ip link set lo up; echo ready; read -r _ || exit 0"
        )
        command = [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "bash",
            "-c",
        ]
        self._holder = subprocess.Popen(
            [*command, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not self._holder.stdout or self._holder.stdout.readline() != "ready\n":
            _, errors = self._holder.communicate()
            raise RuntimeError(f"no namespace {name}: {errors}")
        self.pid = child_of(self._holder.pid)

    def exec(self, *command: str, timeout: float = 20, check: bool = True) -> str:
        """Run a command to its end and return its standard output.

        Args:
            command: The program and its arguments.
            timeout: Seconds.
            check: Whether a bad exit status is an error.

        Raises:
            RuntimeError: A bad exit status; the message holds what it wrote.
            subprocess.TimeoutExpired: It did not end in time.
        """
        with self.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        self._processes.remove(process)
        if check and process.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {process.returncode}: {output}{errors}")
        return output

    def popen(self, *command: str, **options: Any) -> Inside:
        """Start a command; it ends with the side at the latest."""
        options = {"text": True, "stdin": subprocess.DEVNULL} | options
        process = Inside([*self.prefix, *command], **options)
        self._processes.append(process)
        return process

    @property
    def prefix(self) -> list[str]:
        """What to put before a command, so that it runs in here; it ends when that is killed."""
        enter = ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-r", f"--wd={Path.cwd()}"]
        return [*enter, "setpriv", "--pdeathsig", "KILL"]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into this side's network.

        Its sockets stay there, and threads that it starts belong there; threads of before do not.
        """
        with open("/proc/thread-self/ns/net") as before, open(f"/proc/{self.pid}/ns/net") as here:  # noqa: PTH123
            _setns(here.fileno())
            try:
                yield
            finally:
                _setns(before.fileno())

    def close(self) -> None:
        """End the side and everything in it."""
        assert self._holder.stdin
        self._holder.stdin.close()
        try:
            self._holder.wait(5)
        except subprocess.TimeoutExpired:
            self._holder.send_signal(signal.SIGKILL)
            self._holder.wait(5)
        for stream in (self._holder.stdout, self._holder.stderr):
            if stream:
                stream.close()
        for process in self._processes:
            process.wait(5)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()


def child_of(pid: int) -> int:
    """The only child of a process, 0 when it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(children[0]) if children else 0


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
