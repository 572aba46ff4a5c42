"""The account of a real Dante's log under each of its log settings, against what a driver did and saw."""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from proxywatch.dante import figures
from proxywatch.dante.log import DanteLog
from proxywatch.dante.sessions import Sessions
from testbed.danted import danted, free_port, rule
from testbed.socks import dial, greet, receive, reply, request

SETTINGS = {
    "connect disconnect error": {"granted", "rule", "error", "end", "begin"},
    "connect disconnect": {"granted", "rule", "error", "end", "begin"},
    "disconnect": {"granted", "rule", "error", "end"},
    "connect error": {"granted", "rule", "error", "begin"},
    "error": {"error"},
    "connect": {"granted", "rule", "begin"},
    "data iooperation": {"rule"},
    "connect disconnect error data iooperation tcpinfo": {"granted", "rule", "error", "end", "begin"},
}
BY_RULE = "socks_rule"
FORGED = b"us er%@1.2.3.4.5 6.7.8.9.1 -> 5: x"
UP, DOWN = 100, 300


class Target:
    """Reads 100 bytes of each client, answers with 300, closes."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.bind((address, 0))
        self.listener.listen(50)
        self.endpoint = self.listener.getsockname()[:2]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client:
                    receive(client, UP)
                    client.sendall(b"y" * DOWN)


def drive(port: int, address: str) -> tuple[int, Counter[str], int]:
    """Every kind of course that loopback has: (granted, failed by reason, health checks)."""
    target, failed = Target(address), Counter[str]()
    closed = (address, free_port(address))

    def talk(destination: tuple[str, int], code: int | None) -> None:
        with dial(port) as client:
            greet(client)
            request(client, destination)
            if code is None:  # the reply names what was asked for
                client.recv(300)
            elif (seen := reply(client)) != code or code:
                assert seen == code
            else:
                exchange(client)

    for _ in range(12):
        talk(target.endpoint, 0)
    with dial(port) as client:  # SOCKS4, whose user is written down as it is
        four = target.endpoint if ":" not in address else ("127.0.0.9", 1)
        client.sendall(b"\4\1" + struct.pack(">H", four[1]) + socket.inet_aton(four[0]) + FORGED + b"\0")
        granted = receive(client, 8)[1] == 90
        exchange(client) if granted else failed.update([BY_RULE])
    for _ in range(3):
        talk(closed, 5)
        talk(("127.0.0.9", 80), 2)
    talk(("nothing.invalid", 80), None)
    talk(("x: y -> 1.1.1.1.80: connect timeout.invalid", 80), None)
    failed.update(["refused", BY_RULE] * 3 + ["dns_not_found"] * 2 + ["not_socks", "negotiation_aborted"])
    with dial(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(ConnectionError):
            client.recv(10)
    with dial(port) as client:
        greet(client)
    for _ in range(4):
        dial(port).close()
    target.listener.close()
    return 12 + granted, failed, 4


def exchange(client: socket.socket) -> None:
    client.sendall(b"x" * UP)
    receive(client, DOWN)
    assert client.recv(1) == b""


def settled(log: Path, so: Callable[[bytes], bool]) -> bytes:
    """The log, once it is complete."""
    end = monotonic() + 10
    while not so(log.read_bytes()):
        assert monotonic() < end, log.read_text()
        sleep(0.02)
    sleep(0.2)
    return log.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("log", SETTINGS)
def test_what_a_setting_shows_is_as_the_driver_saw_it(tmp_path: Path, log: str, address: str) -> None:
    """No line unparsed, and no count but the true one, or none."""
    shown = SETTINGS[log]
    rules = rule("socks block", to="127.0.0.9/32", log=log) + rule("\nsocks pass", to="::/0", log=log)
    with danted(tmp_path, log=log, rules=rules) as server:
        granted, failed, checks = drive(server.port, address)
        ends = granted + failed.total() + checks
        content = settled(server.log, lambda text: "end" not in shown or text.count(b"tcp/accept ]") >= ends)
    account = DanteLog(Sessions(lambda _endpoint, _at: False))
    account.take(content)
    sessions = account.sessions
    totals, settings = sessions.totals, sessions.settings
    if "error" not in shown:
        failed = Counter({BY_RULE: failed[BY_RULE]})
    if "rule" not in shown:
        del failed[BY_RULE]
    assert (account.unparsed, account.example) == (0, b"")
    assert {reason: count for reason, count in totals.failures.items() if count} == dict(failed)
    assert totals.opened["connect", "client"] == (granted if "granted" in shown else 0)
    assert totals.probes == (checks if "error" in shown else 0)
    if "end" in shown:
        assert (totals.received["other"], totals.sent["other"]) == (granted * UP, granted * DOWN)
        assert totals.closed["connect", "client"] == granted
        assert (sum(totals.lost.values()), len(sessions.connections)) == (0, 0)
        rate = 100 * granted / (granted + failed.total())
        assert figures.success_rate(sessions, sessions.clock, 300) == pytest.approx(rate)
    assert sessions.counting.durations.count == (granted if {"begin", "end"} <= shown else 0)
    assert settings.shows_successes == ("granted" in shown)
    if "end" in shown and "begin" in shown:
        assert figures.active(sessions) == 0
    else:
        assert figures.active(sessions) is None
