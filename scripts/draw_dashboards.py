"""Draw docs/images/{dashboard-*,alerts}.png: let a pool run for some minutes, have troubles, and render it.

Usage, as root: PYTHONPATH=src:tests:proof:. python scripts/draw_dashboards.py [MINUTES] [FOLDER]
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from support.rendering import ROOT, console, rendered
from testbed.pool import Pool, pool

_PACE = 2
_WHOLE = 9999
_NAMES = ("golden-crab", "free-salmon", "swift-otter")
_DELAYS = (14, 66, 38)


def trouble(running: Pool, minutes: float) -> None:
    """A tunnel that is slow for a while, and one that is cut."""
    _, salmon, otter = running.pods.values()
    part = 10 * minutes
    time.sleep(2 * part)
    salmon.delay(190, 40)
    salmon.rate(9)
    time.sleep(part)
    salmon.delay(_DELAYS[1])
    salmon.rate(40)
    otter.cut()
    time.sleep(part)
    otter.heal()
    time.sleep(2 * part)


def alarm(running: Pool, directory: Path, picture: Path) -> None:
    """Cut a tunnel for so long that its alert fires, and draw Prometheus's own page of it."""
    running.pods["swift-otter"].cut()
    running.until('ALERTS{alertname="ProxyVpnDown", alertstate="firing"}', proxies=1, seconds=240)
    console(directory / "console", running, picture, "ProxyVpnDown")
    running.pods["swift-otter"].heal()


def draw(minutes: float, folder: Path) -> None:
    """All pictures."""
    rules = tuple((ROOT / "alerts").glob("*.yml"))
    with (
        TemporaryDirectory() as directory,
        pool(Path(directory), *_NAMES, rules=rules, pace=_PACE, day=1.1, delays=_DELAYS) as running,
        rendered(Path(directory), running, _PACE) as render,
    ):
        trouble(running, minutes)
        since = f"{60 * minutes:.0f}s"
        for name, picture, tall, variables in (
            ("proxy-pool-dashboard.json", "dashboard-pool.png", _WHOLE, {}),
            ("proxy-detail-dashboard.json", "dashboard-detail.png", 2000, {"proxy": "swift-otter"}),
            ("proxy-detail-dashboard.json", "dashboard-detail-whole.png", _WHOLE, {"proxy": "swift-otter"}),
        ):
            told = render(name, folder / picture, since=since, tall=tall, **variables)
            empty = [title for title, panel in told["panels"].items() if not panel["series"]]
            print(picture, "errors:", told["errors"], "panels without data:", empty)
        alarm(running, Path(directory), folder / "alerts.png")


if __name__ == "__main__":
    draw(
        float(sys.argv[1]) if len(sys.argv) > 1 else 6,
        Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs/images",
    )
