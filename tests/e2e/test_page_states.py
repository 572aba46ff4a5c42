"""The status page in states that are rare: nothing known, everything too long, everything wrong."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from proxywatch.dante.reason import REASONS
from proxywatch.dante.report import Cause, Destination, Report
from proxywatch.exporter.status.model import (
    CollectorState,
    Exit,
    Failure,
    Figure,
    Grade,
    Phase,
    Points,
    Status,
    Verdict,
    Vpn,
    Way,
)
from support.reports import report
from testbed.browser import Page, binary, browser
from testbed.exporter import exporter

pytestmark = pytest.mark.skipif(binary() is None, reason="chromium is not installed")
PICTURES = os.environ.get("TEST_SCREENSHOTS")
SCREENS = ((1280, 860, False), (1280, 860, True), (820, 1180, False), (390, 844, False), (320, 700, True))
# Of every element with text of its own: the ratio of its colour to what is behind it, and what WCAG AA asks.
CONTRASTS = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map(
    (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  ).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (each) => {
    for (let at = each; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(at).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility()
    && [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim())).map((each) => {
    const style = getComputedStyle(each);
    const [one, other] = [light(parts(style.color)), light(behind(each))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    return [each.textContent.slice(0, 30), (one + 0.05) / (other + 0.05), large ? 3 : 4.5];
  });
})()"""
CLIPPED = """[...document.querySelectorAll('h1, h2, p, b, span, time, li, dd')].filter(
  (each) => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1
    && getComputedStyle(each).display !== 'inline').map(
  (each) => each.outerHTML.slice(0, 100))"""
OVERLAPS = """[...document.querySelectorAll('.figure')].filter((card) => {
  const [grade, title] = [card.querySelector('.grade'), card.querySelector('h2')].map((each) => {
    const range = document.createRange();
    range.selectNodeContents(each);
    return range.getBoundingClientRect();
  });
  return grade.width && grade.left < title.right;
}).length"""
# Words of letters that stand on two lines.
BROKEN = """(() => {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    if (!text.parentElement.checkVisibility()) continue;
    for (const word of text.data.matchAll(/[A-Za-z]+/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (lines.size > 1) found.push(word[0]);
    }
  }
  return found;
})()"""
KINDS = (
    ("success_rate", "Success rate", "%", 99.95),
    ("latency", "Latency", "ms", 1234.5678),
    ("speed", "Download speed", "Mbps", 0.004),
    ("active", "Active connections", "", 123456.0),
    ("duration", "Mean connection", "s", 0.0004),
    ("request_rate", "Requests", "/min", 1234567.0),
    ("transferred", "Through the tunnel", "bytes", 9.87e15),
)


CHECKS = ("vpn", "country", "not_direct", "no_leak", "no_leak_ipv6", "dns", "new_one")
PHASES = ("proxy_connect", "socks", "tls", "first_byte", "transfer")
COLLECTORS = {"interface": "ok", "sessions": "failing", "children": "nothing", "exit": "waiting"}
GRADES = ("good", "fair", "poor", "bad", "good", "good", "good")
STEPS = Points(60.0, [float(5 + number % 7) if number % 5 else None for number in range(180)])


def status(*, level: str = "good", long: int = 1, known: bool = True, failures: int = 0) -> Status:
    """A status of a shape that pages seldom have."""
    now = time.time()
    name = "golden-crab-" * long
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    passed = dict.fromkeys(CHECKS, level == "good")
    down = Vpn("dead", up=False, message=f"{name}: no handshake for 400 s", last_handshake=now - 4e5)
    return Status(
        name=name,
        version="0.1.0",
        time=now,
        started=now - 40 * 86400,
        verdict=Verdict(cast("Any", level), "It is so " * long, f"because-of-{name}", "Do this. " * long),
        vpn=down if known else Vpn(None, None, "not measured yet"),
        exit=Exit(address, "United Kingdom of " * long, name, name, passed) if known else None,
        figures=[_figure(kind, grade, name, known=known) for kind, grade in zip(KINDS, GRADES, strict=True)],
        phases=[Phase(each, 0.9) for each in PHASES] if known else [],
        collectors=[_collector(each, state, name) for each, state in COLLECTORS.items()],
        failures=[_failure(now - 7 * number, name, long) for number in range(failures)],
        requests=_requests(name, failures) if known else None,
        settings_fault=f"{name}.yaml:3 latency.interval: expected more" if level == "bad" else "",
        health=["0.0.0.0:9999"],
        trends={key: STEPS for key, *_ in KINDS} if known else {},
        ways=[Way("client", "To clients " * long, 0.004, 0.0213)] * 3 if known else [],
    )


def _figure(kind: tuple[str, str, str, float], grade: str, name: str, *, known: bool) -> Figure:
    key, title, unit, value = kind
    if known:
        return Figure(key, f"m_{key}", title, value, unit, cast("Grade", grade))
    return Figure(key, f"m_{key}", title, None, unit, "unknown", f"{name} is switched off")


def _collector(name: str, state: str, lacking: str) -> CollectorState:
    message = "" if state == "ok" else f"{lacking} cannot be read"
    return CollectorState(name, cast("Any", state), message, 0.1, None, 3, None)


def _failure(at: float, name: str, long: int) -> Failure:
    target, words = f"{name}.example:443", "it broke " * long
    return Failure(at, "request", target, "first_byte", "tls_handshake_failed", words, "destination")


def _requests(name: str, failures: int) -> Report:
    places = [Destination(f"{place}.{name}:443", 3**place, 1000) for place in range(20, 0, -1)]
    return report(
        successful=10**9,
        failed=failures,
        causes=[Cause(reason, blame, 3) for reason, blame in REASONS.items()] if failures else [],
        most_bytes=places,
        most_failures=places if failures else [],
        cannot_tell=["timeouts", "durations and open connections"] if failures else [],
        unparsed=failures,
        unparsed_example=name * 9,
    )


STATES = {
    "usual": status(),
    "unknown": status(level="unknown", known=False),
    "long-names": status(level="warning", long=12, failures=12),
    "long-unknown": status(level="warning", long=12, known=False),
    "many-failures": status(level="bad", failures=200),
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page over an exporter to which nothing is known, as there is nothing."""
    directory = tmp_path_factory.mktemp("states")
    settings = {
        "latency": {"enabled": False}, "speed": {"enabled": False}, "exit": {"enabled": False},
        "sessions": {"log": str(directory / "nowhere.log")}, "interface": {"name": "wg-none"},
        "wireguard": {"enabled": False},
    }  # fmt: skip
    with exporter(directory, settings) as running, browser(directory) as opened:
        opened.open(running.http + "/")
        opened.wait("current !== null")
        yield opened


def paint(page: Page, name: str) -> None:
    """Show a state, and nothing that the exporter says after it."""
    page.evaluate(
        f"window.paint ??= show; show = () => {{}}; paint({msgspec.json.encode(STATES[name]).decode()})"
    )


def looks_well(page: Page, name: str) -> None:
    """On every screen: nothing too wide, nothing clipped, all of it legible."""
    for width, height, dark in SCREENS:
        page.look(width, height, dark=dark, telephone=width < 500)
        where = f"{name}, {width}, {'dark' if dark else 'light'}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, where
        assert page.evaluate(CLIPPED) == [], where
        assert page.evaluate(OVERLAPS) == 0, where
        assert page.evaluate(BROKEN) == [], where
        faint = [each for each in page.evaluate(CONTRASTS) if each[1] < each[2]]
        assert faint == [], where
        if PICTURES:
            page.screenshot(
                Path(PICTURES) / f"{name}-{width}{'-dark' if dark else ''}.png", whole=width < 900
            )


def test_a_fresh_start_says_what_is_missing(page: Page) -> None:
    """No Dante, no tunnel, no log: each is named, and nothing is shown as if it were measured."""
    page.wait("current.collectors.every((each) => each.state !== 'waiting')")
    text = page.evaluate("document.body.innerText")
    for words in ("Not measured yet", "nowhere.log", "Latency is switched off", "None in memory"):
        assert words in text, words
    assert (
        page.evaluate("[...document.querySelectorAll('.figure.main .value b')].map((b) => b.textContent)")
        == ["\u2013"] * 3
    )
    looks_well(page, "fresh")
    assert page.problems == []


@pytest.mark.parametrize("name", STATES)
def test_rare_states(page: Page, name: str) -> None:
    """They look as well as the usual ones."""
    paint(page, name)
    looks_well(page, name)
    assert page.problems == []


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("number(1234.5)", "1,235"),
        ("number(0.012345)", "0.0123"),
        ("duration(0.5)", "500 ms"),
        ("duration(119)", "119 s"),
        ("duration(7199)", "120 min"),
        ("duration(7201)", "2 h"),
        ("duration(200000)", "2 days"),
        ("ago(0.4)", "now"),
        ("bytes(999).join(' ')", "999 B"),
        ("bytes(1000).join(' ')", "1 kB"),
        ("bytes(2.5e9).join(' ')", "2.5 GB"),
        ("sized(1234)", "1.23 kB"),
        ("counted(1234567)", "1,234,567"),
        ("sentence('wg0 is dead')", "wg0 is dead"),
        ("sentence('no answer')", "No answer"),
        ("sentence('proxy_connect: no answer')", "Proxy connect: no answer"),
        ("nation('se').join('')", "\U0001f1f8\U0001f1ea Sweden"),
        ("nation('Sweden').join('')", "\U0001f1f8\U0001f1ea Sweden"),
        ("nation('Atlantis').join('')", "Atlantis"),
    ],
)
def test_words(page: Page, expression: str, shown: str) -> None:
    """Numbers, times, sizes, sentences and countries as people write them."""
    assert page.evaluate(expression) == shown


def test_what_is_shown_of_tunnel_exit_and_failures(page: Page) -> None:
    """Checks that passed and that did not, one word of a handshake, the moment of a failure on hover."""
    paint(page, "usual")
    told = page.evaluate("document.getElementById('exit').innerText")
    assert "VPN confirmed" in told
    assert "not the VPN" not in told
    assert page.evaluate("document.getElementById('vpn').innerText").count("handshake") == 1
    paint(page, "many-failures")
    told = page.evaluate("document.getElementById('exit').innerText")
    assert "not the VPN" in told
    assert "VPN confirmed" not in told
    assert ":" in page.evaluate("document.querySelector('#failures time').title")
    assert page.evaluate("document.querySelector('#failures time').dateTime").endswith("Z")


def test_what_all_requests_came_to(page: Page) -> None:
    """The heaviest first, of as many as fit; what may be missing; nothing where nothing is known."""
    paint(page, "usual")
    told = page.evaluate("byId('requests').innerText").split("\n")
    assert told[:5] == [
        "Why requests fail",
        "None yet.",
        "Where they fail",
        "None yet.",
        "Where the bytes go",
    ]
    assert told[5:8] == ["20.golden-crab-:443", "3.49 GB", "or up to 1 kB more"]
    assert page.evaluate("document.querySelectorAll('#most-bytes .share').length") == 5
    assert page.evaluate("document.querySelector('#most-bytes .share').style.width") == "100%"
    assert page.evaluate("byId('unparsed').checkVisibility()") is False
    paint(page, "many-failures")
    told = page.evaluate("byId('requests').innerText")
    for words in (
        "not socks\n3\nclient",
        "does not show timeouts, durations",
        "not Dante's: 200",
        "golden-crab",
    ):
        assert words in told
    paint(page, "unknown")
    assert page.evaluate("byId('requests').checkVisibility()") is False


def test_it_can_be_heard_and_felt(page: Page) -> None:
    """Landmarks, names of what is no text, the grade in words, the trend by keys, no unwanted motion."""
    paint(page, "usual")
    for landmark in ("header", "nav[aria-label]", "main", "footer", "section[aria-label]", "h1"):
        assert page.evaluate(f"document.querySelectorAll('{landmark}').length") >= 1, landmark
    unnamed = "document.querySelectorAll('[role=img]:not([aria-label]), [role=img][aria-label=\"\"]').length"
    assert page.evaluate(unnamed) == 0
    assert "5 to 123,456 in 3 h" in page.evaluate(
        "document.querySelector('#figure-active .trend').getAttribute('aria-label')"
    )
    assert page.evaluate("document.querySelector('#figure-latency .grade').textContent") == "fair"
    assert "200 ms" in page.evaluate("document.querySelector('#figure-latency .grade').title")
    assert page.evaluate("document.querySelector('#failures time, #collectors time, #uptime').title") != ""
    page.evaluate("document.querySelector('#figure-active').focus()")
    before = page.evaluate("document.querySelector('#figure-active .note').textContent")
    page.evaluate("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))")
    after = page.evaluate("document.querySelector('#figure-active .note').textContent")
    assert before != after
    assert "1 min ago" in after or "60 s ago" in after
    page.evaluate("document.activeElement.blur()")
    assert page.evaluate("document.querySelector('#figure-active .note').textContent") == before
    page._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    assert page.evaluate("document.getAnimations().length") == 0
