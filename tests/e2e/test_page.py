"""The status page in a real browser, with live data from a real Dante."""

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from testbed.browser import Page, binary, browser
from testbed.danted import danted
from testbed.exporter import Exporter, exporter
from testbed.target import target

SECRET = "8642097531"
SHOWN = """(key => document.querySelector(`#figure-${key} .value b`).textContent)"""

pytestmark = [
    pytest.mark.skipif(binary() is None, reason="chromium is not installed"),
    pytest.mark.skipif(not os.path.exists("/usr/sbin/danted"), reason="danted is not installed"),  # noqa: PTH110
]


def same(page: Page, running: Exporter, key: str, metric: str) -> bool:
    """Whether the page shows what the series says, to three digits."""
    shown = float(page.evaluate(f"{SHOWN}('{key}')").replace(",", ""))
    (value,) = running.series(metric).values()
    return abs(shown - value) <= 0.006 * value


def test_the_page(tmp_path: Path) -> None:
    """It says what /metrics says, fits a screen and a telephone, asks nobody else, complains of nothing."""
    pictures = Path(os.environ.get("TEST_SCREENSHOTS", tmp_path))
    with target() as site, danted(tmp_path) as proxy:
        url = f"http://127.0.0.1:{site.port}"
        settings = {
            "proxy": {"name": "golden-crab", "url": f"socks5h://127.0.0.1:{proxy.port}", "password": SECRET},
            "latency": {"interval": "2s", "timeout": "1s", "targets": [f"{url}/get"]},
            "speed": {"interval": "5s", "url": url + "/bytes/{bytes}", "bytes": "2MB"},
            "sessions": {"log": str(proxy.log), "start": "beginning"},
            "sockets": {"port": proxy.port},
            "interface": {"name": "lo"},
            "wireguard": {"enabled": False},
            "exit": {"enabled": False},
        }
        with exporter(tmp_path, settings) as running, browser(tmp_path) as page:
            for path in ("get", "status/500", "get"):
                through = f"socks5h://127.0.0.1:{proxy.port}"
                subprocess.run(["curl", "-so", "/dev/null", "-x", through, f"{url}/{path}"], check=False)
            page.look(1280, 860)
            page.open(running.http + "/")
            page.wait("document.body.dataset.level === 'good'")
            for key, metric in (
                ("success_rate", "proxy_success_rate_percent"),
                ("speed", "proxy_download_speed_mbps"),
                ("latency", "proxy_latency_ms"),
            ):
                page.wait(f"{SHOWN}('{key}') !== '\u2013'")
                assert any(same(page, running, key, metric) for _ in range(400)), key
            page.wait("document.querySelectorAll('#figure-latency .trend .line').length > 0")
            refused = [
                "curl",
                "-so",
                "/dev/null",
                "-x",
                f"socks5h://127.0.0.1:{proxy.port}",
                "http://127.0.0.1:1/",
            ]
            subprocess.run(refused, check=False)
            page.wait("document.body.innerText.includes('127.0.0.1:1')")
            assert "destination" in page.evaluate("document.body.innerText")
            page.wait("byId('causes').innerText.startsWith('refused')")
            assert page.evaluate("byId('most-failures').innerText").split("\n")[0] == "127.0.0.1:1"
            assert page.evaluate("byId('most-bytes').innerText").split("\n")[0] == f"127.0.0.1:{site.port}"
            assert page.evaluate("byId('lists').getBoundingClientRect().bottom") <= 1000
            assert page.evaluate("byId('lists').getBoundingClientRect().top") <= 600
            page.screenshot(pictures / "page-light.png")
            assert page.evaluate("byId('health').href").startswith(running.health)
            page.evaluate("location.hash = '#history'")
            page.wait("document.querySelectorAll('#history tbody tr').length > 3")
            assert "127.0.0.1" in page.evaluate("byId('history').innerText")
            assert "Mbps" in page.evaluate("byId('history').innerText")
            page.evaluate("location.hash = '#settings'")
            page.wait("document.querySelectorAll('#settings dl').length > 10")
            shown = page.evaluate("byId('settings').innerText")
            assert "interval\n2s" in shown
            assert SECRET not in shown
            bold = page.evaluate("[...document.querySelectorAll('.changed')].map((each) => each.innerText)")
            assert "2s" in bold
            page.screenshot(pictures / "page-open.png", whole=True)
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = false; })")
            page.look(1280, 860, dark=True)
            page.screenshot(pictures / "page-dark.png")
            page.look(390, 844, telephone=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            page.screenshot(pictures / "page-telephone.png", whole=True)
            assert page.problems == []
            assert {urlsplit(each).netloc for each in page.requested if each.startswith("http")} == {
                urlsplit(running.http).netloc
            }
            running.process.terminate()
            running.process.wait()
            page.wait("document.documentElement.classList.contains('stale')")
            assert page.evaluate("document.getElementById('age').textContent").startswith("no answer for")
