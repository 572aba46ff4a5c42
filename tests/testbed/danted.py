"""A real danted on loopback.

    with danted(tmp_path) as server:
        ... connect to 127.0.0.1:server.port, read server.log ...

It is started in a session of its own, so that `stop()` ends every child of it, the ones that outlive their
mother included, and nothing else. As root it runs its children as `nobody`; otherwise all is the caller's.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

BINARY = "/usr/sbin/danted"
_READY = 10.0


@dataclass(frozen=True)
class Danted:
    """A running server.

    Attributes:
        port: Where it serves, on 127.0.0.1 unless `internal` said otherwise.
        log: Its log; other than a file when `logoutput` said so.
        conf: Its settings; rewrite and `reload()` to change them.
        pid_file: Where it wrote the mother's process id.
        process: The mother.
    """

    port: int
    log: Path
    conf: Path
    pid_file: Path
    process: "subprocess.Popen[bytes]"

    def reload(self) -> None:
        """Have it read its settings again and reopen its log (SIGHUP)."""
        self.process.send_signal(signal.SIGHUP)

    def terminate(self) -> None:
        """End the mother alone; children with sessions live on and drain them."""
        self.process.terminate()
        self.process.wait(_READY)

    def pids(self) -> set[int]:
        """Every process of it that lives, orphans included."""
        return {pid for pid in _pids() if _session(pid) == self.process.pid}

    def stop(self) -> None:
        """End every process of it at once; harmless when repeated."""
        while self.pids():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(_READY)
            time.sleep(0.01)
        self.process.wait(_READY)


@contextmanager
def danted(
    directory: Path,
    *,
    port: int = 0,
    internal: str = "127.0.0.1",
    external: str = "lo",
    log: str = "connect disconnect error",
    logoutput: str = "",
    method: str = "none",
    timeouts: Mapping[str, int] | None = None,
    extra: str = "",
    client_rules: str = "",
    rules: str = "",
    user: str = "nobody",
    binary: str = BINARY,
    arguments: Sequence[str] = (),
    short: bool = False,
    prefix: Sequence[str] = (),
    nameserver: str = "",
) -> Iterator[Danted]:
    """Run a danted until the block ends.

    Args:
        directory: Holds danted.conf, danted.log and danted.pid; a test's tmp_path.
        port: The SOCKS port; 0 picks a free one.
        internal: The address that it serves on.
        external: The device or address that it dials from.
        log: What its rules log; empty for nothing.
        logoutput: Where to, in Dante's words; by default the file danted.log.
        method: `none` or `username`.
        timeouts: Seconds by what follows `timeout.`: connect, negotiate, io, tcp_fin_wait ...
        extra: More lines of server settings.
        client_rules: Client rules that come before the one that passes all.
        rules: SOCKS rules that come before the one that passes all, such as a blocked destination.
        user: Whom the children run as, when we are root.
        binary: The program; a copy named `sockd`, for example.
        arguments: More options of the command line, such as ("-N", "2").
        short: Start it with a command line so short that its children's titles are cut.
        prefix: A command to run it under that ends in exec, such as ("ip", "netns", "exec", "NAME").
        nameserver: The resolver that it sees in /etc/resolv.conf; needs root.

    Raises:
        RuntimeError: It did not start; the message is its log.
    """
    port = port or free_port(internal)
    conf, log_file, pid_file = (directory / name for name in ("danted.conf", "danted.log", "danted.pid"))
    lines = [
        f"logoutput: {logoutput or log_file}",
        f"internal: {internal} port = {port}",
        f"external: {external}",
        f"clientmethod: none\nsocksmethod: {method}",
        *([f"user.privileged: root\nuser.unprivileged: {user}"] if os.geteuid() == 0 else ()),
        *(f"timeout.{name}: {seconds}" for name, seconds in (timeouts or {}).items()),
        extra,
        client_rules,
        rule("client pass", log=log),
        rules,
        rule("socks pass", log=log),
    ]
    conf.write_text("\n".join(filter(None, lines)) + "\n")
    if nameserver:
        prefix = (*prefix, *_resolving_at(directory, nameserver))
    command = _short(binary) if short else [binary, "-f", str(conf), "-p", str(pid_file), *arguments]
    process = subprocess.Popen(
        [*prefix, *command],
        cwd=directory,
        env=os.environ | {"PATH": f"{Path(binary).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = Danted(port, log_file, conf, pid_file, process)
    try:
        _await_listener(server)
        yield server
    finally:
        server.stop()


def rule(verdict: str, *, to: str = "0.0.0.0/0", log: str = "", more: str = "") -> str:
    """One rule: `rule("socks block", to="127.0.0.9/32", log="connect")`."""
    log = f"\n    log: {log}" if log else ""
    return f"{verdict} {{\n    from: 0.0.0.0/0 to: {to}{log}\n    {more}\n}}"


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nothing listens on at the moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        return int(listener.getsockname()[1])


def _short(binary: str) -> list[str]:
    return [Path(binary).name, "-f", "danted.conf"]


def _resolving_at(directory: Path, nameserver: str) -> list[str]:
    resolv = directory / "resolv.conf"
    resolv.write_text(f"nameserver {nameserver}\n")
    mount = f'mount --bind {resolv} /etc/resolv.conf && exec "$@"'
    return [shutil.which("unshare") or "unshare", "--mount", "sh", "-c", mount, "sh"]


def _await_listener(server: Danted) -> None:
    deadline = time.monotonic() + _READY
    while not (_listens(server.process.pid, server.port) and _has_children(server.process.pid)):
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"danted did not start: {_text(server.log)}")
        time.sleep(0.01)


def _listens(pid: int, port: int) -> bool:
    tables = (_text(Path(f"/proc/{pid}/net/{table}")) for table in ("tcp", "tcp6"))
    rows = [row.split() for table in tables for row in table.splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def _has_children(pid: int) -> bool:
    """It listens before it forks; not every kernel tells of children."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return not children.exists() or bool(_text(children))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208


def _session(pid: int) -> int | None:
    """The session of a process; None for one that is gone or only waits to be reaped."""
    _, _, fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")
    columns = fields.split()
    return int(columns[3]) if columns and columns[0] not in "ZX" else None
