"""How our measurements are told: tables in Markdown, the machine and the date beside them."""

import os
import platform
import statistics
import time
from collections.abc import Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """What it was measured on, and when, in a sentence."""
    model = [line.split(": ", 1)[1] for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = int(_lines("/proc/meminfo")[0].split()[1]) / 1e6
    system = dict(line.split("=", 1) for line in _lines("/etc/os-release") if "=" in line)
    return (
        f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())}: {os.cpu_count()} cores "
        f"({model[0] if model else platform.machine()}), {memory:.0f} GB, "
        f"{system.get('PRETTY_NAME', 'Linux').strip(chr(34))}, Linux {platform.release()}, "
        f"CPython {platform.python_version()}."
    )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the least and greatest in brackets."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
