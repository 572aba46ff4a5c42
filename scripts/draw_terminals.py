"""Draw docs/images/{helm,docker}.png: what Helm and the built images say, in real runs of the commands shown.

Usage, as root: PYTHONPATH=src:tests:proof:. python scripts/draw_terminals.py [FOLDER]
"""

import html
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from support import engine, stage
from support.charts import helm
from support.engine import podman
from testbed.browser import browser

ROOT = Path(__file__).parents[1]
_WIDTH = 1180
_PAGE = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #16181d; color: #d8dee9 }
pre { margin: 0; padding: 18px 22px; font: 14px/1.45 "DejaVu Sans Mono", monospace; white-space: pre-wrap }
b { color: #a3be8c; font-weight: normal } i { color: #88c0d0; font-style: normal }
</style><pre>TEXT</pre>"""
_GIVEN = (
    "proxies[0].name=golden-crab,proxies[0].secret=golden-crab",
    "monitor.kind=pod,rules.enabled=true,dashboards.enabled=true",
    "podDisruptionBudget.enabled=true,networkPolicy.enabled=true",
)


def said(*command: str) -> str:
    """What a program prints, whether it succeeds or not."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in lines if "symbolic link" not in line)


def charts() -> str:
    """Linted, a typo refused, rendered, and what whoever installs it is told."""
    program, chart = helm("4"), "helm/proxywatch"
    sets = [part for each in _GIVEN for part in ("--set", each)]
    rendered = said(program, "template", "pool", chart, "-n", "vpn", *sets)
    kinds = re.findall(r"^kind: (\w+)$", rendered, re.MULTILINE)
    counted = "\n".join(f"{kinds.count(kind):4} {kind}" for kind in sorted(set(kinds)))
    notes = said(program, "install", "pool", chart, "-n", "vpn", "--dry-run=client", *sets).partition(
        "NOTES:"
    )
    wrong = said(program, "template", "pool", chart, "--set", "sidecar.settings.latency.intervall=20s")
    values = " \\\n      ".join(f"--set '{each}'" for each in _GIVEN)
    return "\n".join(
        (
            f"$ helm lint --strict {chart}",
            said(program, "lint", "--strict", chart),
            f"\n$ helm template pool {chart} --set sidecar.settings.latency.intervall=20s",
            wrong.strip(),
            f"\n$ helm template pool {chart} -n vpn {values} | grep ^kind | sort | uniq -c",
            counted,
            f"\n$ helm install pool {chart} -n vpn --dry-run=client ...",
            "".join(notes[1:]).strip(),
        )
    )


def images() -> str:
    """The sidecar alone, then beside a real tunnel and a real Dante: well, and what the doctor says."""
    name, alone = (
        "localhost/proxywatch:dev",
        ("run", "--rm", "--read-only", "--cap-drop=all", "--network=none"),
    )
    run = f"$ podman {' '.join(alone)}"
    built = ("images", "--format", "{{.Repository}}:{{.Tag}}  {{.Size}}")
    with stage.running() as up:
        stage.wait(
            "readiness", lambda: up.ok("proxywatch", "/usr/bin/proxywatch", "healthcheck", "/readyz"), 60
        )
        stage.wait("a speed", lambda: "proxy_download_speed_mbps" in up.metrics(), 60)
        config = "/etc/proxywatch/proxywatch.yaml"
        return "\n".join(
            (
                "$ podman images",
                *sorted(
                    line
                    for line in podman(*built).splitlines()
                    if re.match("localhost/proxywatch(-proxy)?:", line)
                ),
                f"\n{run} proxywatch --version",
                podman(*alone, name, "--version"),
                f"\n{run} --entrypoint /bin/sh proxywatch",
                podman(*alone, "--entrypoint", "/bin/sh", name, check=False).strip(),
                "\n$ podman exec proxywatch proxywatch healthcheck /readyz",
                up.exec("proxywatch", "proxywatch", "healthcheck", "/readyz"),
                f"\n$ podman exec proxywatch proxywatch check -c {config}",
                up.exec("proxywatch", "proxywatch", "check", "-c", config),
            )
        )


def draw(text: str, picture: Path) -> None:
    """A terminal with the text in it."""
    lines = [html.escape(line) for line in text.splitlines()]
    marked = [f"<i>{line}</i>" if line.startswith("$ ") else line for line in lines]
    marked = [re.sub(r"^(\S+ +)(ok)\b", r"\1<b>\2</b>", line) for line in marked]
    with TemporaryDirectory() as directory:
        page = Path(directory) / "page.html"
        page.write_text(_PAGE.replace("TEXT", "\n".join(marked)))
        with browser(Path(directory)) as tab:
            tab.look(_WIDTH, 400)
            tab.open(page.as_uri())
            tab.look(_WIDTH, tab.evaluate("document.querySelector('pre').offsetHeight"))
            tab.screenshot(picture)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images"
    draw(charts(), folder / "helm.png")
    engine.prepare()
    stage.build()
    draw(images(), folder / "docker.png")
