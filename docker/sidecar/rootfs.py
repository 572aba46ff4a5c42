"""Put into a new root what this interpreter and the given directories need to run, and nothing else.

Usage: rootfs.py ROOT DIRECTORY...

Shared libraries are found by ldd. What comes out of Debian's packages is recorded as the scanners of images
expect it (/var/lib/dpkg/status.d), with its licence.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

_UNUSED = shutil.ignore_patterns(
    "config-*", "dist-packages", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data",
    "site-packages", "sitecustomize.py", "test", "tests", "tkinter", "turtle*", "venv",
)  # fmt: skip
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_USER = "nonroot:x:65532:65532::/:/sbin/nologin\n"
_FILES = {
    "etc/passwd": "root:x:0:0::/:/sbin/nologin\n" + _USER,
    "etc/group": "root:x:0:\nnonroot:x:65532:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def main(root: Path, directories: Iterable[Path]) -> None:
    """Fill the root."""
    root.mkdir()
    for link in ("bin", "lib", "lib64", "sbin"):  # as in every Debian: /lib is /usr/lib
        (root / "usr" / link).mkdir(parents=True)
        (root / link).symlink_to(f"usr/{link}")
    interpreter = Path(sys.executable).resolve()
    copy(root, interpreter)
    (root / "usr/bin/python3").symlink_to(interpreter.name)
    for directory in (Path(sysconfig.get_path("stdlib")), *directories):
        shutil.copytree(directory, root / directory.relative_to("/"), symlinks=True, ignore=_UNUSED)
    for library in libraries(root):
        copy(root, library)
    copy(root, _CERTIFICATES)
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tmp").mkdir(mode=0o1777)
    record(root)


def copy(root: Path, path: Path) -> None:
    """Copy a file to where it is, or to where its directory really is."""
    target = root / path.parent.resolve().relative_to("/") / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)


def libraries(root: Path) -> set[Path]:
    """The shared libraries outside of the root that what is in it asks for."""
    found = {Path(line) for line in _output("ldconfig", "-p").split() if line.endswith("/libgcc_s.so.1")}
    for binary in (path for path in root.rglob("*") if is_elf(path)):
        lines = _output("ldd", str(binary)).splitlines()
        words = [word for line in lines for word in line.split() if word.startswith("/")]
        found |= {Path(word) for word in words if not word.startswith(str(root))}
    return found


def is_elf(path: Path) -> bool:
    """Whether it is a program or a library."""
    if not path.is_file() or path.is_symlink():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def record(root: Path) -> None:
    """Note the packages that the files came from, and their licences."""
    status = root / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    for package in packages(root):
        name = package.partition(":")[0]
        (status / name).write_text(_output("dpkg-query", "--status", package))
        licence = Path("/usr/share/doc") / name / "copyright"
        if licence.exists():
            copy(root, licence)


def packages(root: Path) -> Iterator[str]:
    """Debian's packages that own a file of the root."""
    ours = {"/" + str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    ours |= {path.removeprefix("/usr") for path in ours}  # dpkg may know it by its older place
    lists = Path("/var/lib/dpkg/info").glob("*.list")
    for file in sorted(lists):
        if any(line in ours for line in file.read_text().splitlines()):
            yield file.name.removesuffix(".list")


def _output(*command: str) -> str:
    environment = {"PATH": os.environ.get("PATH", "") + ":/sbin:/usr/sbin", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
