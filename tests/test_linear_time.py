"""No parser takes more than linear time, whatever it is given: searched for, by inputs built to hurt it.

The time for n, 2n and 4n bytes is compared, never a time by itself: by which power it grows with the size.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

import proxywatch
from proxywatch.config import Schema, load
from proxywatch.dante import conf, envelope, fast_path, reason, rule_line, title
from proxywatch.dante import line as dante_line
from proxywatch.dante.log import DanteLog
from proxywatch.dante.records import COMMANDS
from proxywatch.dante.sessions import Sessions
from proxywatch.errors import SourceError
from proxywatch.parse import inet_diag, netdev, socket_table
from proxywatch.probe import identity
from proxywatch.quantity import Address, Duration, Size
from proxywatch.wireguard import device
from support.attack_inputs import Attack, attacks, delimited, exponent, loaded, patterns

LINEAR = 1.75  # quadratic is 2

for _module in pkgutil.walk_packages(proxywatch.__path__, "proxywatch."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)
PATTERNS = patterns(loaded("proxywatch"))


def growth(work: Callable[[Any], object], make: Callable[[int], Any]) -> float:
    """By which power the time grows; the least of three measurements, as other load only adds."""

    def safely(size: int) -> Callable[[], object]:
        given = make(size)

        def run() -> None:
            with suppress(Exception):  # whatever a parser says of such an input
                work(given)

        return run

    least = 9.0
    for _ in range(3):
        least = min(least, exponent(safely))
        if least < LINEAR:
            break
    return least


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_no_regular_expression_of_ours_is_worse_than_linear(name: str) -> None:
    """Each repetition in it, pumped, with what it cannot go on with after it."""
    pattern, ways = PATTERNS[name]
    end = "\n" if name.endswith("fast_path._plain_lines") else ""  # which is given complete lines
    for attack in attacks(pattern):
        for way in ways:
            found = growth(way, partial(pumped, pattern, attack, end))
            assert found < LINEAR, (found, attack(60))


def pumped(pattern: re.Pattern[Any], attack: Attack, end: str, size: int) -> str | bytes:
    """An attack as a pattern takes it."""
    text = attack(size) + end
    return text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text


HEAD = "Nov 21 12:04:52 (1795262692.9) danted[7]: info: "
KEY = "10.1.1.5.3 10.1.0.1.1"
END = "remote peer closed.  Session duration: 0s"
LINES = [
    f"{HEAD}pass(1): tcp/connect ]: 1 -> pam%u@{KEY} -> 2, 2 -> 1.1.1.1.1 2.2.2.2.2 -> 1: {END}",
    f"{HEAD}pass(1): tcp/bindreply ]: 1 -> 1.1.1.1.1 2.2.2.2.2 -> 1, 1 -> 3.3.3 a%u@4.4.4 -> 1: {END}",
    f'{HEAD}block(2): tcp/connect ]: {KEY}: could not resolve hostname "x": Name or service not known',
    f"{HEAD}block(2): tcp/connect ]: pam%u@{KEY} -> 1.1.1.1.1 x.8: connect(2) to x.8 from 1.1.1 failed: y",
    f"{HEAD}pass(1): udp/udpassociate ]: 1/1 -> a%u@x.8 1.1.1.1.1 -> 1/1, 1/1 -> 1.1.1 2.2.2 -> 1/1: {END}",
    f"{HEAD}pass(1): udp/udpassociate [: x.80 10.77.0.1.1080",
    f"2026-11-21T12:04:52.1Z stdout F <30>Nov 21 12:04:52 host danted[1]: {HEAD}pass(1): tcp/accept [: {KEY}",
    '{"log":"' + HEAD + 'pass(1)","stream":"stderr","time":"x"}',
]  # fmt: skip
WORDS = [
    " -> ", ": ", "@", "%", " ", ".1", "1", "[x] ", "]", "a@1.1.1 2.2.2 -> ", "@1.1.1.1.1 2.2.2.2.2: ",
    " -> 1, 1 -> 1.1 1.1 -> 1: ", ".  Session duration: 0s", ": connect(2) to ", ".80: ", "\\", '"', "1.1 ",
    ": could not resolve target address ", "connect(2) to a from b failed: ", "<", "(", "{", "a ",
]  # fmt: skip
MESSAGES = [line.removeprefix(HEAD) for line in LINES[:6]]
RESTS = [message.partition("[: ")[2] or message.partition("]: ")[2] for message in MESSAGES]


def of_rest(text: bytes) -> None:
    """Whatever kind of line it may be the rest of."""
    for command in COMMANDS.values():
        with suppress(ValueError):
            rule_line.opened(1.0, b"1", command, text)
        for passed in (True, False):
            with suppress(ValueError):
                rule_line.closed(1.0, b"1", command, text, passed=passed)


def of_reason(text: bytes) -> None:
    """Every question that is asked of one."""
    reason.sort(text, passed=False)
    reason.of_dial(text)
    reason.of_refusal(text)
    reason.of_resolver(text)
    reason.unresolved_name(text)


def of_log(text: bytes) -> None:
    """A chunk of lines, counted."""
    DanteLog(Sessions(lambda _endpoint, _at: False)).take(text + b"\n")


def of_settings(text: bytes) -> None:
    """A file of settings that knows no section."""
    load(text.decode("latin-1"), {}, Schema({}), "settings.yaml")


def of_table(text: bytes) -> None:
    """A socket table, line by line."""
    list(socket_table.parse(text.split(b"\n"), 1080))


def of_device(text: bytes) -> None:
    """Both text forms of a device."""
    for parse in (device.parse_uapi, device.parse_dump):
        with suppress(ValueError, SourceError):
            parse(memoryview(bytearray(text)))


CONF = ["client pass {\n from: 0/0 to: 0/0\n log: error\n}\n", "socks block { log: connect disconnect }"]
NETDEV = ["Inter-|\n face |bytes\n  lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"]
TABLE = ["  sl  local_address\n   0: 0100007F:0438 00000000:0000 0A 0:0 0:0 0 0 0 1 1 0 1 0 0 10 0\n"]
PARSERS: dict[str, tuple[Callable[[bytes], object], list[str], list[str]]] = {
    "dante.line": (dante_line.parse, LINES, WORDS),
    "dante.rule_line": (of_rest, RESTS, WORDS),
    "dante.envelope": (envelope.unwrap, LINES, WORDS),
    "dante.fast_path": (lambda text: fast_path.split(text + b"\n"), LINES, WORDS),
    "dante.log": (of_log, LINES, [*WORDS, "\n", "\r\n"]),
    "dante.reason": (of_reason, [it.rpartition(": ")[2] for it in MESSAGES] + MESSAGES, WORDS),
    "dante.conf": (conf.rules, CONF, ["pass", "{", "}", "log:", " a", " log: a", "\n", "#", ":"]),
    "dante.title": (title.parse, ["danted: io-child: 4/32 (1 in progress)"],
        [" ", ":", "/", "1", "(", "danted: "]),
    "parse.netdev": (netdev.parse, NETDEV, [" ", ":", "1", "\n", " lo: 1"]),
    "parse.socket_table": (of_table, TABLE, [" ", ":", "0", "\n", "0: "]),
    "parse.inet_diag": (inet_diag.parse, ["\x14\x00\x00\x00" * 8], ["\0", "\x10\0\0\0", "\xff"]),
    "wireguard.device": (of_device, ["private_key=00\npublic_key=00\n"],
        ["\n", "=", "peer\n", "public_key=\n"]),
    "probe.identity": (identity.parse, ['{"ip":"1.1.1.1"}'], ["{", '"', ":", "[", ",", "\\", "1"]),
    "config": (of_settings, ["a: {b: [1, 2]}\n"],
        ["a: ", "- ", "[", "{", "#", "'", '"', "\n", "&a ", "*a ", "? "]),
}  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_no_parser_is_worse_than_linear(name: str) -> None:
    """Its own delimiters, many times, in the middle of what it knows."""
    parse, seeds, words = PARSERS[name]
    for attack in delimited(seeds, words):
        found = growth(parse, lambda size, attack=attack: attack(size).encode("latin-1"))  # type: ignore[misc]
        assert found < LINEAR, (found, attack(60)[:300])


@pytest.mark.parametrize("kind", [Address, Duration, Size])
def test_no_quantity_is_worse_than_linear(kind: Any) -> None:
    """Digits and units without end."""
    for attack in delimited(["1h30m", "1.5GiB", "[::1]:80"], ["1", "h", "1h", ".", "[", ":", " "]):
        found = growth(kind.parse, lambda size, attack=attack: attack(size))  # type: ignore[misc]
        assert found < LINEAR, (found, attack(60))


@pytest.mark.parametrize("pattern", ["a*a*b", r"\s+$"])
def test_the_search_finds_what_is_known_to_be_worse(pattern: str) -> None:
    """So that the tests above can fail."""
    compiled = re.compile(pattern)
    found = (
        growth(compiled.search, lambda size, attack=attack: attack(size))  # type: ignore[misc]
        for attack in attacks(compiled)
    )
    assert any(power >= LINEAR for power in found)
