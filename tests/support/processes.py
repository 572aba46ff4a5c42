"""A process of another name."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sleeping() -> Iterator["subprocess.Popen[bytes]"]:
    """A child that has become `sleep` for certain: between fork and exec it bears our name."""
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            deadline = time.monotonic() + 10
            while Path(f"/proc/{child.pid}/comm").read_text() != "sleep\n" and time.monotonic() < deadline:
                time.sleep(0.001)
            yield child
        finally:
            child.kill()
