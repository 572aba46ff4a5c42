"""Both dashboards in a real browser, drawn by Grafana's libraries: every panel gets and draws its data."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboards.build import FILES

from support.rendering import installed, rendered
from testbed.browser import binary
from testbed.pod import missing
from testbed.pool import Pool, pool

LACKING = missing() + [
    name for name in ("prometheus", "promtool", "node", "npm") if shutil.which(name) is None
]
LACKING += [] if binary() else ["chromium"]

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"rendering needs {LACKING}"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A pool with something to show."""
    try:
        installed()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"npm could not install Grafana's libraries: {error}")
    with pool(tmp_path_factory.mktemp("pool"), "golden-crab", "free-salmon") as running:
        for metric in ("proxy_exit_info", "proxy_request_failures_total > 0", "proxy_download_speed_mbps"):
            running.until(metric)
        running.until("count_over_time(proxy_latency_ms[1m]) > 8")
        yield running


@pytest.mark.parametrize("name", FILES)
def test_every_panel_draws_its_data(seen: Pool, tmp_path: Path, name: str) -> None:
    """No error, no panel without data, the proxies chosen by the variable."""
    picture = tmp_path / "picture.png"
    with rendered(tmp_path, seen) as draw:
        told = draw(name, picture, since="1m", proxy="free-salmon")
    assert told["errors"] == []
    assert {title: panel for title, panel in told["panels"].items() if panel.get("error")} == {}
    assert [title for title, panel in told["panels"].items() if not panel["series"]] == []
    assert picture.stat().st_size > 50_000
