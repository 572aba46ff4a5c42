"""The status page over a live tunnel: each figure on it is that of /metrics, whatever happens to the pod."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxywatch.exporter import terminal
from proxywatch.exporter.status.model import Figure, Status
from testbed.browser import Page, binary, browser
from testbed.exporter import Exporter, exporter, proxywatch
from testbed.pod import WEB, Pod, missing
from testbed.socks import dial

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=f"a pod needs {missing()}"),
    pytest.mark.skipif(binary() is None, reason="chromium is not installed"),
]
PICTURES = os.environ.get("TEST_SCREENSHOTS")
RULES = "socks block { from: 0.0.0.0/0 to: 0.0.0.0/0 port = 25\n log: connect error }"
IDENTITY = {
    "ip": "193.138.7.148",
    "country": "Sweden",
    "city": "Gothenburg",
    "mullvad_exit_ip": True,
    "mullvad_exit_ip_hostname": "se-got-wg-001",
}
SEEN = """(() => ({
  status: current,
  figures: Object.fromEntries([...document.querySelectorAll('.figure')].map((card) => [
    card.id.replace('figure-', ''),
    [card.querySelector('h2'), card.querySelector('.value'), card.querySelector('.note')].map(
      (each) => each.textContent.trim()),
  ])),
  grades: Object.fromEntries([...document.querySelectorAll('.figure')].map(
    (card) => [card.id.replace('figure-', ''), card.dataset.grade])),
  message: document.getElementById('message').textContent,
  detail: document.getElementById('detail').textContent,
  advice: document.getElementById('advice').textContent,
  vpn: document.getElementById('vpn').innerText,
  exit: document.getElementById('exit').innerText,
  marks: ['yes', 'no'].map((kind) => document.querySelectorAll(`#exit .${kind}`).length),
  phases: document.querySelector('#figure-latency .legend')?.innerText ?? '',
  failures: document.querySelectorAll('#failures li:not(.none)').length,
  collectors: [...document.querySelectorAll('#collectors b')].map((each) => each.textContent).sort(),
}))()"""


@contextmanager
def watched(pod: Pod, directory: Path) -> Iterator[tuple[Exporter, Page]]:
    """The exporter in the pod, and a browser that looks at it; this thread is in the pod's network."""
    (pod.www / "me.json").write_text(json.dumps(IDENTITY))
    url = f"http://{WEB}"
    settings = {
        "proxy": {"name": "golden-crab"},
        "latency": {"interval": "3s", "targets": ["http://web.test/get", f"{url}/get"]},
        "speed": {"interval": "15s", "url": url + "/bytes/{bytes}", "bytes": "2MB"},
        "exit": {"urls": [url + "/me.json", url + "/me.json?again"], "expect": {"country": "Sweden"}},
        "sessions": {"log": str(pod.log), "checkpoint": str(directory / "checkpoint"), "start": "beginning"},
    }
    with (
        pod.entered("pod"),
        exporter(directory, settings, prefix=pod.prefix("pod")) as running,
        browser(directory) as page,
    ):
        page.look(1280, 860)
        page.open(running.http + "/")
        yield running, page


def samples(running: Exporter) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(running.get("/metrics").body):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def told_by_metrics(found: dict[str, list[tuple[dict[str, str], float]]], status: Status) -> dict[str, Any]:
    """What the status says, taken from the series."""
    states = [labels["state"] for labels, value in found.get("vpn_tunnel_state", ()) if value == 1]
    handshakes = [value for _, value in found.get("wireguard_peer_last_handshake_seconds", ())]
    exits = [labels for labels, _ in found.get("proxy_exit_info", ())]
    success = {
        labels["collector"]: value == 1 for labels, value in found.get("proxywatch_collector_success", ())
    }
    return {
        "figures": {
            figure.key: found[figure.metric][0][1] if figure.metric in found else None
            for figure in status.figures
        },
        "vpn": (
            states[0] if states else None,
            found["vpn_connection_status"][0][1] == 1 if states else None,
            max(handshakes, default=None),
        ),
        "exit": (*(exits[0][name] for name in ("ip", "country", "city", "server")),) if exits else None,
        "checks": {labels["check"]: value == 1 for labels, value in found.get("proxy_exit_check", ())},
        "collectors": {name: ok for name, ok in success.items() if name in _names(status)},
    }


def _names(status: Status) -> set[str]:
    return {collector.name for collector in status.collectors}


def told_by_status(status: Status) -> dict[str, Any]:
    """The same, as the status has it."""
    exit_, vpn = status.exit, status.vpn
    return {
        "figures": {figure.key: figure.value for figure in status.figures},
        "vpn": (vpn.state, vpn.up, vpn.last_handshake),
        "exit": (exit_.ip, exit_.country, exit_.city, exit_.server) if exit_ else None,
        "checks": exit_.checks if exit_ else {},
        "collectors": {
            collector.name: collector.state == "ok"
            for collector in status.collectors
            if collector.state != "waiting"
        },
    }


def the_api_says_what_the_metrics_say(running: Exporter) -> Status:
    """All of it, at a moment in which nothing changed."""
    for _ in range(200):
        before = samples(running)
        status = msgspec.json.decode(running.get("/api/v1/status").body, type=Status)
        after = samples(running)
        told = [told_by_metrics(found, status) for found in (before, after)]
        if told[0] == told[1]:
            assert told_by_status(status) == told[0]
            schema = json.loads(running.get("/api/v1/status/schema").body)
            jsonschema.validate(json.loads(msgspec.json.encode(status)), schema)
            return status
    pytest.fail("it never stood still")


def number(text: str) -> float:
    """`1,234 ms`, `3.1 MB`, `2 min` in the unit of the series."""
    match = re.match(r"([\d,.]+)\s*(\S*)", text)
    assert match, text
    scale = {"kB": 1e3, "MB": 1e6, "GB": 1e9, "min": 60, "h": 3600, "days": 86400}
    return float(match[1].replace(",", "")) * scale.get(match[2], 1)


def agrees(figure: Figure, text: str) -> None:
    """A figure as text is its value, to three digits."""
    if figure.value is None:
        assert text[0] in "\u2013-", (figure, text)
        return
    shown = number(text)
    if figure.unit == "s" and text.endswith(" ms"):
        shown /= 1000
    coarse = 0.5 * {"min": 60, "h": 3600}.get(text.rpartition(" ")[2], 0)
    assert abs(shown - figure.value) <= max(0.006 * figure.value, coarse), (figure, text)


def the_page_says_what_the_api_says(page: Page) -> None:
    """Text and answer are read in one moment, so no change comes between."""
    seen = page.wait(SEEN)
    status = msgspec.convert(seen["status"], Status)
    assert set(seen["figures"]) == {figure.key for figure in status.figures}
    for figure in status.figures:
        title, value, note = seen["figures"][figure.key]
        assert title == figure.title
        assert seen["grades"][figure.key] == figure.grade
        agrees(figure, value)
        if figure.reason:
            assert figure.reason.lower().replace("_", " ") in note.lower().replace("_", " ")
    assert seen["advice"] == status.verdict.advice
    assert seen["message"] == status.verdict.message
    assert seen["detail"].lower().replace("_", " ") == status.verdict.detail.lower().replace("_", " ")
    up = {True: "Up", False: "Down", None: "Not watched"}[status.vpn.up]
    assert up in seen["vpn"]
    assert status.vpn.message.lower() in seen["vpn"].lower()
    assert seen["failures"] == len(status.failures)
    assert seen["collectors"] == sorted(_names(status))
    if status.exit is None:
        assert "Not known" in seen["exit"]
    else:
        for each in (status.exit.ip, status.exit.city, "Sweden", status.exit.server):
            assert each in seen["exit"]
        passed = sum(status.exit.checks.values())
        assert seen["marks"] == [passed, len(status.exit.checks) - passed]
        assert "_" not in seen["exit"]
    assert len(re.findall(r" (?:ms|s)\b", seen["phases"])) == len(status.phases)


def _between(running: Exporter) -> tuple[Status, str]:
    """What the command printed while the API said the same before and after."""
    for _ in range(50):
        before = msgspec.json.decode(running.get("/api/v1/status").body, type=Status)
        done = proxywatch("status", running.http, NO_COLOR="1")
        after = msgspec.json.decode(running.get("/api/v1/status").body, type=Status)
        if told_by_status(before) == told_by_status(after):
            return before, done.stdout
    pytest.fail("it never stood still")


def the_terminal_says_what_the_api_says(running: Exporter) -> None:
    """By the command as people type it, between two answers that are alike."""
    before, text = _between(running)
    for figure in before.figures:
        (line,) = re.findall(rf"^  {figure.title} {{2,}}(.*)$", text, re.MULTILINE)
        agrees(figure, line)
    assert before.verdict.message in text
    for name in _names(before):
        assert f"● {name} " in text
    if before.exit is not None:
        assert before.exit.ip in text
    assert terminal.render(before, colour=False).splitlines()[0] == text.splitlines()[0]


def picture(page: Page, name: str) -> None:
    """As a wide screen shows it, light and dark, and a telephone; nothing is wider than the screen."""
    for kind, (width, height, dark) in {
        "light": (1280, 860, False),
        "dark": (1280, 860, True),
        "telephone": (390, 844, False),
    }.items():
        page.look(width, height, dark=dark, telephone=width < 500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if PICTURES:
            page.screenshot(Path(PICTURES) / f"{name}-{kind}.png", whole=width < 500)
    page.look(1280, 860)


def fail_in_many_ways(pod: Pod) -> None:
    """A name that is none, a closed port, a forbidden one, an address that never answers, an error page."""
    for host, path in (
        ("nx.test", "/"), ("web.test:1", "/"), ("web.test:25", "/"), ("dead.test", "/"),
        ("web.test", "/status/500"),
    ):  # fmt: skip
        with contextlib.suppress(RuntimeError):
            pod.get(path, host=host, timeout=2)


def test_every_figure_is_the_one_of_the_metrics(tmp_path: Path) -> None:
    """On the page, in the API and in a terminal: while all is well, without Dante, without a tunnel."""
    with Pod(dante_extra=RULES) as pod, ExitStack() as sessions, watched(pod, tmp_path) as (running, page):
        for _ in range(12):
            pod.get("/bytes/200000")
        fail_in_many_ways(pod)
        with pod.entered("client"):
            for _ in range(3):
                sessions.enter_context(dial(1080, host=pod.address))
        running.until("a speed", lambda: running.series("proxy_download_speed_mbps"), 40)
        running.until("an exit", lambda: running.series("proxy_exit_info"), 40)
        running.until("failures", lambda: json.loads(running.get("/api/v1/status").body)["failures"][3:])
        reasons = {failure.reason for failure in the_api_says_what_the_metrics_say(running).failures}
        print("failures:", sorted(reasons))
        assert len(reasons) >= 3
        page.wait("document.querySelectorAll('#figure-latency .trend .line').length > 0")
        page.wait("current.failures.length > 3")
        the_page_says_what_the_api_says(page)
        the_terminal_says_what_the_api_says(running)
        picture(page, "live")

        pod.stop_dante()
        page.wait("current.verdict.level === 'bad'")
        the_api_says_what_the_metrics_say(running)
        the_page_says_what_the_api_says(page)
        the_terminal_says_what_the_api_says(running)
        picture(page, "no-dante")

        pod.remove_wg()
        page.wait("document.getElementById('vpn').innerText.includes('Down')")
        the_api_says_what_the_metrics_say(running)
        the_page_says_what_the_api_says(page)
        the_terminal_says_what_the_api_says(running)
        picture(page, "no-tunnel")

        assert page.problems == []
        hosts = {urlsplit(each).netloc for each in page.requested if each.startswith("http")}
        assert hosts == {urlsplit(running.http).netloc}
