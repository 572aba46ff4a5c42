"""A real Dante resolves by the forwarder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
@pytest.mark.skipif(not shutil.which("danted") or not shutil.which("curl"), reason="needs danted and curl")
def test_dante_with_resolv_conf_pointing_at_it(tmp_path: Path) -> None:
    """Names that a client leaves to the proxy arrive here, and the second time come from the cache."""
    environ = os.environ | {"PYTHONPATH": f"{HERE.parents[1] / 'src'}:{HERE.parent}"}
    command = [
        "unshare",
        "--mount",
        "--net",
        sys.executable,
        str(HERE / "inside_dante_pod.py"),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.stdout.splitlines() == [
        "one.test hello",
        "two.test hello",
        "one.test hello",
        "upstream one.test. two.test.",
        "hits True failed 0",
    ], done.stderr
