"""The exporter as it is installed for use: an environment with what requirements.lock names, no more."""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BUILT = ROOT / "build" / "runtime"


def python() -> str:
    """Its interpreter; built when it is not there for the present lock."""
    lock = (ROOT / "requirements.lock").read_bytes()
    folder = _BUILT / hashlib.sha256(lock + sys.version.encode()).hexdigest()[:12]
    done = folder / "installed"
    if not done.exists():
        base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        subprocess.run([str(base), "-m", "venv", str(folder)], check=True)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements.lock")], check=True)
        done.touch()
    # As an installed package has it: whoever compiles at the start stays half a megabyte larger.
    subprocess.run([str(folder / "bin" / "python"), "-m", "compileall", "-q", str(ROOT / "src")], check=True)
    return str(folder / "bin" / "python")


def environ() -> dict[str, str]:
    """What it needs to find our source, and nothing of the developer's environment."""
    return {
        "PYTHONPATH": str(ROOT / "src"),
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
    }
