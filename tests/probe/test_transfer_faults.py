"""Whatever goes wrong between us and a target: the stage and the reason are right."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxywatch.probe.outcome import REASONS
from proxywatch.probe.proxy import Proxy
from proxywatch.secret import Secret
from support.probing import probe, request
from testbed import certificates
from testbed.certificates import Certificates
from testbed.danted import free_port
from testbed.faulty_socks import Script, Talk, faulty

HTTP, HTTPS = "http://localhost/", "https://localhost/"
_TIMEOUT = 0.4


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("pki"))


def _opened(then: Script) -> Script:
    def script(talk: Talk) -> None:
        talk.open()
        then(talk)

    return script


def _answered(data: bytes, then: Callable[[Talk], None] = Talk.hang) -> Script:
    """The target answers so, then something happens."""

    def script(talk: Talk) -> None:
        talk.open()
        talk.head()
        talk.send(data)
        then(talk)

    return script


def _replied(data: bytes) -> Script:
    """The proxy answers CONNECT so."""

    def script(talk: Talk) -> None:
        talk.greet()
        talk.request()
        talk.send(data)
        talk.hang()

    return script


def _say(data: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.send(data)
        talk.hang()

    return script


def _end(_: Talk) -> None:
    """Close in good order."""


def _endless(talk: Talk) -> None:
    talk.open()
    talk.head()
    talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        talk.send(bytes(65536))


def _drip(talk: Talk) -> None:
    talk.open()
    talk.head()
    talk.send(talk.top("200 OK", 100))
    for _ in range(100):
        talk.send(b".")
        time.sleep(0.05)


def _greeted(reply: bytes, then: Script = Talk.hang) -> Script:
    def script(talk: Talk) -> None:
        talk.greet(reply)
        then(talk)

    return script


def _read_then(size: int, then: Script) -> Script:
    def script(talk: Talk) -> None:
        talk.read(size)
        then(talk)

    return script


def _refused_after_greeting(then: Script) -> Script:
    def script(talk: Talk) -> None:
        talk.greet()
        talk.request()
        then(talk)

    return script


_LOOP = b"HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\nContent-Length: 0\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_NOT_TLS, _ALERT = b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"

FAULTS: dict[str, tuple[str, Script, str, str]] = {
    "silence at the greeting": (HTTP, Talk.hang, "socks", "timeout"),
    "reset at the greeting": (HTTP, _read_then(3, Talk.reset), "socks", "reset"),
    "end at the greeting": (HTTP, _read_then(3, _end), "socks", "reset"),
    "HTTP instead of SOCKS": (HTTP, _greeted(b"HTTP/1.0 400 Bad\r\n"), "socks", "malformed"),
    "another SOCKS version in the greeting": (HTTP, _greeted(b"\x04\x00"), "socks", "malformed"),
    "no way of logging in suits": (HTTP, _greeted(b"\x05\xff"), "socks", "auth"),
    "a way of logging in that was not offered": (HTTP, _greeted(b"\x05\x07"), "socks", "malformed"),
    "silence at CONNECT": (HTTP, _refused_after_greeting(Talk.hang), "socks", "timeout"),
    "reset at CONNECT": (HTTP, _refused_after_greeting(Talk.reset), "socks", "reset"),
    "end at CONNECT": (HTTP, _refused_after_greeting(_end), "socks", "reset"),
    "silence at CONNECT, https": (HTTPS, _refused_after_greeting(Talk.hang), "socks", "timeout"),
    "reset at CONNECT, https": (HTTPS, _refused_after_greeting(Talk.reset), "socks", "reset"),
    "half a reply": (HTTP, _replied(b"\x05\x00"), "socks", "timeout"),
    "another SOCKS version in the reply": (HTTP, _replied(b"\x04\0\0\1\0\0\0\0\0\0"), "socks", "malformed"),
    "an address type that there is not": (HTTP, _replied(b"\x05\0\0\x09\0\0\0\0\0\0"), "socks", "malformed"),
    "reply 1": (HTTP, _replied(b"\x05\1\0\1\0\0\0\0\0\0"), "socks", "general"),
    "reply 2": (HTTP, _replied(b"\x05\2\0\1\0\0\0\0\0\0"), "socks", "rule"),
    "reply 3": (HTTP, _replied(b"\x05\3\0\1\0\0\0\0\0\0"), "socks", "network_unreachable"),
    "reply 4, name": (HTTP, _replied(b"\x05\4\0\1\0\0\0\0\0\0"), "socks", "dns_or_unreachable"),
    "reply 4, address": (
        "http://192.0.2.1/", _replied(b"\x05\4\0\1\0\0\0\0\0\0"), "socks", "host_unreachable"
    ),
    "reply 5": (HTTP, _replied(b"\x05\5\0\1\0\0\0\0\0\0"), "socks", "refused"),
    "reply 6": (HTTP, _replied(b"\x05\6\0\1\0\0\0\0\0\0"), "socks", "expired"),
    "reply 7": (HTTP, _replied(b"\x05\7\0\1\0\0\0\0\0\0"), "socks", "unsupported"),
    "reply 8": (HTTP, _replied(b"\x05\x08\0\1\0\0\0\0\0\0"), "socks", "unsupported"),
    "reply 9, not assigned": (HTTP, _replied(b"\x05\x09\0\1\0\0\0\0\0\0"), "socks", "rejected"),
    "reply 255, not assigned": (HTTP, _replied(b"\x05\xff\0\1\0\0\0\0\0\0"), "socks", "rejected"),
    "reset before TLS": (HTTPS, _opened(_read_then(10, Talk.reset)), "tls", "reset"),
    "end before TLS": (HTTPS, _opened(_read_then(10, _end)), "tls", "reset"),
    "silence before TLS": (HTTPS, _opened(Talk.hang), "tls", "timeout"),
    "no TLS at all": (HTTPS, _opened(_say(_NOT_TLS)), "tls", "handshake"),
    "TLS alert": (HTTPS, _opened(_say(_ALERT)), "tls", "handshake"),
    "reset before an answer": (HTTP, _opened(_read_then(10, Talk.reset)), "first_byte", "reset"),
    "end before an answer": (HTTP, _answered(b"", _end), "first_byte", "reset"),
    "silence before an answer": (HTTP, _opened(Talk.hang), "first_byte", "timeout"),
    "an answer that is not HTTP": (HTTP, _answered(b"SSH-2.0-x\r\n"), "first_byte", "malformed"),
    "a length that is no number": (
        HTTP, _answered(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), "first_byte", "malformed"
    ),
    "endless headers": (
        HTTP, _answered(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 80_000), "first_byte", "malformed"
    ),
    "500": (HTTP, _answered(Talk.top("500 Oh", 0)), "first_byte", "status"),
    "404": (HTTP, _answered(Talk.top("404 No", 0)), "first_byte", "status"),
    "redirect loop": (HTTP, _answered(_LOOP), "first_byte", "redirect"),
    "short body": (HTTP, _answered(Talk.top("200 OK", 9) + b"hell", _end), "transfer", "short_body"),
    "short chunked body": (HTTP, _answered(_CHUNKED + b"5\r\nhello\r\n", _end), "transfer", "short_body"),
    "silence in the body": (HTTP, _answered(Talk.top("200 OK", 9) + b"hell"), "transfer", "timeout"),
    "reset in the body": (HTTP, _answered(Talk.top("200 OK", 9) + b"hell", Talk.reset), "transfer", "reset"),
    "a chunk that is none": (HTTP, _answered(_CHUNKED + b"5\r\nhello\r\nzz\r\n"), "transfer", "malformed"),
    "endless body": (HTTP, _endless, "transfer", "long_body"),
    "slow drip": (HTTP, _drip, "transfer", "timeout"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_stage_and_reason(fault: str, pki: Certificates) -> None:
    """Each of them, injected by a script, is told for what it is."""
    url, script, stage, reason = FAULTS[fault]
    with faulty(script) as port:
        seen = probe(Proxy(url=f"socks5h://127.0.0.1:{port}"), request(url, _TIMEOUT), pki.bundle)
    assert (seen.stage, seen.reason) == (stage, reason)
    assert seen.message() == f"{stage}: {REASONS[stage, reason]}"
    reached = [phase for phase, _ in seen.phases.items()]
    assert stage not in reached or reason in {"status", "redirect", "malformed"}, (
        "a phase that failed has no duration"
    )


@pytest.mark.parametrize("fault", ["silence at CONNECT", "silence before an answer", "silence in the body"])
def test_a_transfer_that_stands_still_is_given_up(fault: str) -> None:
    """Long before all of its time is over, and told by the stage at which it stands."""
    url, script, stage, reason = FAULTS[fault]
    with faulty(script) as port:
        seen = probe(Proxy(url=f"socks5h://127.0.0.1:{port}"), replace(request(url, 60), patience=1))
    assert (seen.stage, seen.reason) == (stage, reason)
    assert seen.duration < 30


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [("expired", "expired"), ("early", "expired"), ("other", "name"), ("stranger", "untrusted")],
)
def test_a_certificate_that_does_not_verify(certificate: str, reason: str, pki: Certificates) -> None:
    """Out of its time, for another name, signed by a stranger."""
    with faulty(_opened(lambda talk: talk.secure(pki.server(certificate)))) as port:
        seen = probe(Proxy(url=f"socks5h://127.0.0.1:{port}"), request(HTTPS), pki.bundle)
    assert (seen.stage, seen.reason) == ("tls", reason)


def test_nothing_listens_on_the_proxys_port() -> None:
    """A proxy that is down."""
    seen = probe(Proxy(url=f"socks5h://127.0.0.1:{free_port()}"), request(HTTP))
    assert (seen.stage, seen.reason) == ("proxy_connect", "refused")
    assert seen.phases.items() == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
def test_no_route_to_the_proxy() -> None:
    """In a network of its own that has none."""
    command = "import test_transfer_faults as t; t.without_route()"
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    arguments = ["unshare", "--net", sys.executable, "-W", "error", "-c", command]
    subprocess.run(arguments, env={"PYTHONPATH": path}, check=True, timeout=20)


def without_route() -> None:
    """The part of the test above that has no network."""
    seen = probe(Proxy(url="socks5h://192.0.2.1:1080"), request(HTTP))
    assert (seen.stage, seen.reason) == ("proxy_connect", "unreachable"), seen


def test_the_proxys_name_is_unknown() -> None:
    """A typing error in its URL."""
    seen = probe(Proxy(url="socks5h://nobody.invalid:1080"), request(HTTP))
    assert (seen.stage, seen.reason) == ("proxy_connect", "dns")


def test_the_targets_name_is_resolved_here_and_unknown() -> None:
    """Which happens with socks5:// alone."""
    with faulty(Talk.hang) as port:
        seen = probe(Proxy(url=f"socks5://127.0.0.1:{port}"), request("http://nobody.invalid/"))
    assert (seen.stage, seen.reason) == ("socks", "dns")


def test_a_bad_password() -> None:
    """Offered, asked for, refused; and not shown anywhere."""

    def script(talk: Talk) -> None:
        talk.greet(b"\x05\x02")
        talk.login(b"\x01\x01")

    with faulty(script) as port:
        proxy = Proxy(url=f"socks5h://127.0.0.1:{port}", username="me", password=Secret("geheim"))
        seen = probe(proxy, request(HTTP))
    assert (seen.stage, seen.reason) == ("socks", "auth")
    assert "geheim" not in repr(seen) + repr(proxy)


@pytest.mark.parametrize(
    ("answer", "reason"), [(b"\0\x5b", "rejected"), (b"\0\x5d", "auth"), (b"\0\x00", "rejected")]
)
def test_socks4a_refusals(answer: bytes, reason: str) -> None:
    """Its replies are fewer."""

    def script(talk: Talk) -> None:
        talk.wire.recv(1000)
        talk.send(answer + bytes(6))
        talk.hang()

    with faulty(script) as port:
        seen = probe(Proxy(url=f"socks4a://127.0.0.1:{port}"), request(HTTP))
    assert (seen.stage, seen.reason) == ("socks", reason)


@pytest.mark.parametrize(
    ("url", "status", "stage", "reason"),
    [
        (HTTP, "407 Login", "socks", "auth"),
        (HTTPS, "407 Login", "socks", "auth"),
        (HTTPS, "503 No", "socks", "rejected"),
    ],
)
def test_an_http_proxys_refusals(url: str, status: str, stage: str, reason: str) -> None:
    """Told by its own status."""
    with faulty(lambda talk: talk.answer(b"", status)) as port:
        seen = probe(Proxy(url=f"http://127.0.0.1:{port}"), request(url))
    assert (seen.stage, seen.reason) == (stage, reason)


def test_every_reason_is_documented() -> None:
    """The table in docs/probes.md has a line for each, in the same words, and no other."""
    page = (Path(__file__).parents[2] / "docs/probes.md").read_text()
    section = page.partition("## Failures")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (.*) \|$", section, re.MULTILINE)
    assert [(*pair, meaning) for pair, meaning in REASONS.items()] == rows[1:]
