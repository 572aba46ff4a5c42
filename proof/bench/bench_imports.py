"""What each runtime dependency adds to resident memory, imported in this order into one fresh interpreter."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import runtime

ORDER = (
    "asyncio",
    "uvloop",
    "msgspec",
    "yaml",
    "pycurl",
    "httptools",
    "click",
    "prometheus_client",
    "psutil",
    "proxywatch.exporter.daemon",
)


def resident() -> float:
    """Megabytes (10^6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Print a table."""
    before = resident()
    print(f"{'interpreter':20} {before:6.1f} MB")
    for name in ORDER:
        importlib.import_module(name)
        now = resident()
        print(f"{name:20} {now - before:+6.1f} MB  {now:6.1f}")
        before = now


if __name__ == "__main__":
    if sys.argv[1:] != ["here"]:
        sys.exit(
            subprocess.run(
                [runtime.python(), __file__, "here"], check=False, env=runtime.environ()
            ).returncode
        )
    main()
