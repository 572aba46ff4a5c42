"""What a release stands on: one version everywhere, a workflow that runs what there is."""

import re
import subprocess
from pathlib import Path

import yaml

from proxywatch import __version__

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github/workflows/build.yaml"


def test_program_and_chart_are_of_one_version() -> None:
    """The script that the workflow asks agrees, and refuses another version."""
    script = ROOT / "scripts/version"
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout.strip() == __version__
    assert subprocess.run([script, "99.0.0"], capture_output=True, check=False).returncode == 1


def test_snippet_names_the_image_of_this_version() -> None:
    """The pod by hand is copied as it stands."""
    assert f"image: proxywatch:{__version__}\n" in (ROOT / "helm/sidecar-pod.yaml").read_text()


def test_workflow_runs_what_is_here_and_knows_no_secret() -> None:
    """Every path and target of the project that it names exists; it may read alone."""
    text = WORKFLOW.read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    runs = "\n".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    for path in re.findall(r"(?:scripts|docker|helm|\.ci)/[\w./-]+", runs):
        assert (ROOT / path).exists(), path
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)", runs)) <= set(targets)
