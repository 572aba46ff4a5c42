"""Images built and run for real, by buildah, podman and runc in a storage of their own.

Where Debian's image cannot be pulled, one is made by debootstrap from the mirror that this machine uses. It
gets this machine's own certificates, so that what is installed into it comes by the same way.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDS = ("buildah", "podman", "runc", "debootstrap", "tar")
_CACHE = Path(os.environ.get("TEST_TOOLS", "~/.cache/proxywatch-tools")).expanduser() / "containers"
_BASE = "docker.io/library/debian:bookworm-slim"
_STORAGE = '[storage]\ndriver = "overlay"\nrunroot = "{0}/run"\ngraphroot = "{0}/graph"\n'
_CONTAINERS = """\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def environment() -> dict[str, str]:
    """What makes the programs use our storage."""
    return os.environ | {
        "CONTAINERS_STORAGE_CONF": str(_CACHE / "storage.conf"),
        "CONTAINERS_CONF": str(_CACHE / "containers.conf"),
    }


def run(*command: str | Path, timeout: float = 60, check: bool = True, cwd: Path = ROOT) -> str:
    """A command's standard output and error; RuntimeError with both when it fails."""
    with tempfile.TemporaryFile() as output:  # a pipe would be held open by what it leaves running
        done = subprocess.run(
            command, stdout=output, stderr=output, check=False, timeout=timeout, env=environment(), cwd=cwd,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        output.seek(0)
        text = output.read().decode(errors="replace")
    if check and done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {text[-3000:]}")
    return text


def podman(*arguments: str, timeout: float = 60, check: bool = True) -> str:
    """Podman, without what it says about timers that only systemd has."""
    text = run("podman", *arguments, timeout=timeout, check=check)
    return "\n".join(line for line in text.splitlines() if "level=error" not in line)


def prepare() -> None:
    """Have the programs and Debian's image, or skip."""
    missing = [program for program in NEEDS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"no {', '.join(missing) or 'root'}")
    _CACHE.mkdir(parents=True, exist_ok=True)
    (_CACHE / "storage.conf").write_text(_STORAGE.format(_CACHE))
    (_CACHE / "containers.conf").write_text(_CONTAINERS)
    if subprocess.run(["podman", "image", "exists", _BASE], env=environment(), check=False).returncode:
        _make_base()


def _make_base() -> None:
    with tempfile.TemporaryDirectory(prefix="debian-", dir=_CACHE) as directory:
        root = Path(directory) / "root"
        run("debootstrap", "--variant=minbase", "bookworm", root, _mirror(), timeout=300)
        shutil.rmtree(root / "var/cache/apt/archives")
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        local = Path("/usr/local/share/ca-certificates")
        if local.is_dir():
            shutil.copytree(local, root / "usr/local/share/ca-certificates", dirs_exist_ok=True)
            (root / "etc/pip.conf").write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n")
        run("tar", "-C", root, "-cf", f"{directory}/root.tar", ".")
        podman("import", f"{directory}/root.tar", _BASE, timeout=120)


def _mirror() -> str:
    for source in sorted(Path("/etc/apt").rglob("*.sources")):
        for line in source.read_text().splitlines():
            if line.startswith("URIs:"):
                return line.split()[1]
    raise RuntimeError("no mirror of Debian is named in /etc/apt")


def build(dockerfile: str, tag: str, context: Path = ROOT, options: Sequence[str] = ()) -> None:
    """Build an image from one of our Dockerfiles as it is written."""
    how = ("--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--format", "docker")
    run("buildah", "bud", *how, *options, "-f", dockerfile, "-t", tag, context, timeout=300)
