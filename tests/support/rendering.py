"""The dashboards in a browser, drawn by Grafana's own libraries over the Prometheus of a pool.

with rendered(directory, pool) as draw:
    told = draw("proxy-pool-dashboard.json", picture, since="10m")
"""

import http.server
import mimetypes
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from testbed.browser import browser
from testbed.pool import Pool

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests/dashboards/render"
BUILD = ROOT / "build/render"
_INSTALL = ("npm", "install", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
_WIDTH = 1480
_ANSWERED = "Object.values(window.drawing.panels).every((panel) => panel.state === 'Done' || panel.error)"

_TALL = "document.querySelector('h1').parentElement.offsetHeight"
_UNFOLD = """
document.head.insertAdjacentHTML('beforeend', '<style>body * { font-family: "DejaVu Sans" }</style>');
document.getElementById('inactiveAlerts').parentElement.click();
[...document.querySelectorAll('.alert_header')].find((row) => row.innerText.includes('WANTED')).click();
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode())
  texts.currentNode.data = texts.currentNode.data.replace(/\\S*[/](\\w+[.]rules)/, '$1');
"""


def installed() -> Path:
    """The folder with the sources and what they import; some 650 MB, installed once by npm."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for file in SOURCES.iterdir():
        shutil.copy(file, BUILD)
    marker = BUILD / "installed.json"
    wanted = (SOURCES / "package.json").read_text()
    if not marker.exists() or marker.read_text() != wanted:
        subprocess.run(_INSTALL, cwd=BUILD, check=True)
        marker.write_text(wanted)
    return BUILD


def built(place: Path) -> None:
    """The page's script and style, put there."""
    modules = installed()
    subprocess.run(["node", "build.mjs", str(place / "main.js")], cwd=modules, check=True)
    shutil.copy(SOURCES / "index.html", place)
    for dashboard in (ROOT / "dashboards").glob("*-dashboard.json"):
        shutil.copy(dashboard, place)


@contextmanager
def rendered(directory: Path, pool: Pool, pace: int = 1) -> Iterator[Callable[..., dict[str, Any]]]:
    """Yields what draws a dashboard into a picture and gives what each panel was given."""
    site = directory / "site"
    site.mkdir()
    built(site)
    with _serving(site, pool) as url, browser(directory) as page:

        def draw(
            name: str, picture: Path, *, since: str, tall: int = 9999, **variables: str
        ) -> dict[str, Any]:
            page.look(_WIDTH, 1000, dark=True)
            page.open(
                f"{url}/index.html?"
                + urlencode({"dashboard": name, "from": f"now-{since}", "scrape": pace, **variables})
            )
            page.wait("window.drawing.ready || window.drawing.errors.length")
            page.look(_WIDTH, page.evaluate("window.drawing.height || 1000"), dark=True)
            page.wait(_ANSWERED)
            time.sleep(1.5)  # the charts are drawn in the frames after their data came
            page.look(_WIDTH, min(tall, page.evaluate("window.drawing.height")), dark=True)
            page.screenshot(picture)
            return dict(page.evaluate("window.drawing"))

        yield draw


def console(directory: Path, pool: Pool, picture: Path, wanted: str) -> None:
    """A picture of one alert on Prometheus's own page, unfolded."""
    directory.mkdir()
    with _served(partial(_Forward, pool)) as url, browser(directory) as page:
        page.look(_WIDTH, 560)
        page.open(f"{url}/classic/alerts")
        page.wait(f"document.body.innerText.includes({wanted!r})")
        page.evaluate(_UNFOLD.replace("WANTED", wanted))
        time.sleep(1)  # it unfolds slowly
        page.look(_WIDTH, min(page.evaluate(_TALL) + 90, 1000))
        page.screenshot(picture)


@contextmanager
def _serving(site: Path, pool: Pool) -> Iterator[str]:
    with _served(partial(_Handler, pool, directory=str(site))) as url:
        yield url


@contextmanager
def _served(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, pool: Pool, *arguments: Any, **options: Any) -> None:
        self._pool = pool
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        if not self.path.startswith("/prometheus/"):
            super().do_GET()
            return
        _answer(self, self._pool, self.path.removeprefix("/prometheus"), "application/json")

    def log_message(self, *_: Any) -> None:
        pass


class _Forward(http.server.BaseHTTPRequestHandler):
    """Prometheus as it is, which the browser cannot reach by itself."""

    def __init__(self, pool: Pool, *arguments: Any, **options: Any) -> None:
        self._pool = pool
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        kind = "application/json" if path.startswith("/api/") else mimetypes.guess_type(path)[0]
        _answer(self, self._pool, self.path, kind or "text/html")

    def log_message(self, *_: Any) -> None:
        pass


def _answer(handler: http.server.BaseHTTPRequestHandler, pool: Pool, path: str, kind: str) -> None:
    status, body = pool.fetch(path)
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
