"""Proxies other than Dante, from Debian's packages, that end with their block.

    with microsocks(side.prefix, "127.0.0.1", 1080): ...

Each runs under `prefix`, a command that ends in exec, such as a namespace's.
"""

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_READY = 10.0


@contextmanager
def microsocks(prefix: Sequence[str], host: str, port: int) -> Iterator[None]:
    """A SOCKS5 server of one process, with a thread for each connection."""
    with _running([*prefix, "microsocks", "-i", host, "-p", str(port)], prefix, host, port):
        yield


@contextmanager
def tinyproxy(prefix: Sequence[str], host: str, port: int, directory: Path) -> Iterator[None]:
    """An HTTP proxy."""
    conf = directory / "tinyproxy.conf"
    conf.write_text(
        f"Port {port}\nListen {host}\nTimeout 60\nMaxClients 2000\nAllow 0.0.0.0/0\nAllow ::/0\n"
        f'LogFile "{directory}/tinyproxy.log"\nLogLevel Critical\n'
    )
    with _running([*prefix, "tinyproxy", "-d", "-c", str(conf)], prefix, host, port):
        yield


@contextmanager
def ssh_d(prefix: Sequence[str], host: str, port: int, directory: Path, server: int) -> Iterator[None]:
    """`ssh -D`, logged in to an sshd of the same network over 127.0.0.1.

    Args:
        prefix: See above.
        host: Where it listens.
        port: For SOCKS.
        directory: For keys and settings.
        server: The port of the sshd.
    """
    for name in ("host", "user"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(make, check=True)
    keys = directory / "authorized_keys"
    shutil.copy(directory / "user.pub", keys)
    conf = directory / "sshd_config"
    conf.write_text(
        f"Port {server}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nAuthorizedKeysFile {keys}\n"
        f"StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nMaxSessions 100\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    ssh = [
        "ssh", "-N", "-F", "/dev/null", "-i", str(directory / "user"), "-p", str(server),
        "-D", listen, *(part for option in options for part in ("-o", option)),
        f"{getpass.getuser()}@127.0.0.1",
    ]  # fmt: skip
    sshd = [shutil.which("sshd", path=_search()) or "sshd", "-D", "-f", str(conf)]
    with (
        _running([*prefix, *sshd], prefix, "127.0.0.1", server),
        _running([*prefix, *ssh], prefix, host, port),
    ):
        yield


def missing(*programs: str) -> str:
    """Those of the programs that are not installed, for skipping; empty when all are."""
    return ", ".join(name for name in programs if shutil.which(name, path=_search()) is None)


@contextmanager
def _running(command: Sequence[str], prefix: Sequence[str], host: str, port: int) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _await(process, prefix, host, port)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=_READY)


def _await(process: "subprocess.Popen[bytes]", prefix: Sequence[str], host: str, port: int) -> None:
    """Until it listens, without connecting to it."""
    family = "-6" if ":" in host else "-4"
    deadline = time.monotonic() + _READY
    while True:
        rows = subprocess.run(
            [*prefix, "ss", "-Hltn", family, f"sport = :{port}"], capture_output=True, check=True
        ).stdout
        if rows.strip():
            return
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            errors = process.communicate()[1].decode(errors="replace")
            raise RuntimeError(f"{process.args!r} does not listen: {errors}")
        time.sleep(0.02)


def _search() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
