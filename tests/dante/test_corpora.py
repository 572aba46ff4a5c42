"""The account of recorded logs against the truth about them; `pytest -s` prints the comparison."""

import re
from collections import Counter
from typing import Any

import pytest

from proxywatch.dante import figures
from proxywatch.dante import line as dante_log
from proxywatch.dante.log import DanteLog
from proxywatch.dante.reason import REASONS as BLAME
from proxywatch.dante.sessions import Sessions
from support.corpora import GRANTED, REASONS, UNLOGGED, Corpus, corpus, lines_of_each, read

COMPLETE = ["main", "disconnect", "ioop", "tcpinfo"]
# The client left while data was under way: the log has what Dante wrote, a chunk or two more than it read.
LEFT_EARLY = {"client_close_mid", "client_rst_mid"}
BY_RULE = {"client_rule", "socks_rule"}
BY_TIME = {"connect_timeout"}


def account_of(log: bytes) -> DanteLog:
    account = DanteLog(Sessions(lambda _endpoint, _at: False))
    account.take(log)
    return account


def visible(name: str, truth: dict[str, Any]) -> bool:
    """Whether the corpus's `log:` setting shows a session's outcome."""
    if truth["reason"] in UNLOGGED:
        return False
    granted, reason = truth["outcome"] in GRANTED, REASONS.get(truth["reason"])
    if name == "connect":
        return granted or reason in BY_RULE
    if name == "error":
        return not granted and reason is not None and reason not in BY_RULE | BY_TIME
    return granted or reason is not None


def expected(chosen: Corpus) -> tuple[dict[str, int], dict[str, int]]:
    """(Granted by command, failed by reason), as far as the setting shows them."""
    granted = dict.fromkeys(("connect", "bind", "udpassociate"), 0)
    failed = dict.fromkeys(BLAME, 0)
    for truth in chosen.sessions:
        if not visible(chosen.name, truth):
            continue
        if truth["outcome"] in GRANTED:
            granted[GRANTED[truth["outcome"]]] += 1
        else:
            failed[REASONS[truth["reason"]] or ""] += 1
    return granted, failed


def test_several_targets_of_an_association_are_no_destination() -> None:
    """Dante writes 0.0.0.0.0 then."""
    places = dict(account_of(corpus("main").log).sessions.counting.by_bytes.top(1000))
    assert len(places) > 5
    assert not [place for place in places if place.endswith(b".0")]


def test_names_that_do_not_resolve_are_among_the_destinations_that_fail() -> None:
    """By the name, as their lines have no target; as often as clients asked for them."""
    chosen = corpus("main")
    asked = Counter(
        truth["dest"][0].encode()
        for truth in chosen.sessions
        if (REASONS.get(truth["reason"] or "") or "").startswith("dns_")
    )
    failures = dict(account_of(chosen.log).sessions.counting.by_failures.top(1000))
    plain = {name: count for name, count in asked.items() if re.fullmatch(rb"[a-z0-9.-]*[a-z]", name)}
    assert len(plain) > 20
    assert {name: failures.get(name, 0) for name in plain} == plain


@pytest.mark.parametrize("name", COMPLETE)
def test_every_count_of_a_log_that_shows_all_is_equal_to_the_truth(name: str) -> None:
    """Opened, closed, failed by reason, health checks: nothing more, nothing less, nothing left over."""
    chosen = corpus(name)
    account = account_of(chosen.log)
    totals = account.sessions.totals
    granted, failed = expected(chosen)
    probes = sum(truth["reason"] in {"tcp_probe_close", "tcp_probe_rst"} for truth in chosen.sessions)
    assert {command: totals.opened[command, "client"] for command in granted} == granted
    assert {command: totals.closed[command, "client"] for command in granted} == granted
    assert totals.failures == failed
    assert totals.successful == sum(granted.values())
    assert (totals.probes, account.unparsed, len(account.sessions.connections)) == (probes, 0, 0)
    assert not any(totals.lost.values())
    print(f"\n{name}: opened {granted}, failed {totals.failed}, health checks {probes}: as the truth")


def test_the_log_of_a_thousand_connections_has_676_successes_and_270_failures() -> None:
    """The definition of success, in two numbers."""
    totals = account_of(corpus("main").log).sessions.totals
    assert (totals.successful, totals.failed) == (676, 270)


def test_a_log_of_begins_shows_what_was_granted_and_what_rules_refused() -> None:
    """`log: connect`: the rest is absent rather than wrong."""
    chosen = corpus("connect")
    sessions = account_of(chosen.log).sessions
    granted, failed = expected(chosen)
    assert {command: sessions.totals.opened[command, "client"] for command in granted} == granted
    assert sessions.totals.failures == failed
    assert sessions.settings.shows_successes
    assert not sessions.settings.shows_failures
    assert figures.success_rate(sessions, sessions.clock, 300) is None
    assert figures.active(sessions) is None
    assert {reason for reason in BLAME if sessions.settings.shows(reason)} == BY_RULE | {"session_limit"}


def test_a_log_of_errors_shows_the_errors() -> None:
    """`log: error`: neither successes, nor timeouts, nor what rules refused."""
    chosen = corpus("error")
    sessions = account_of(chosen.log).sessions
    _, failed = expected(chosen)
    shown = {reason for reason in BLAME if sessions.settings.shows(reason)}
    # A reset without a byte may have come during the dial or after it; without begins, nobody knows.
    counted = {reason: count for reason, count in sessions.totals.failures.items() if reason != "reset"}
    assert counted == {reason: count for reason, count in failed.items() if reason != "reset"}
    assert shown == set(BLAME) - BY_RULE - BY_TIME - {"session_limit"}
    assert not sessions.settings.shows_successes
    assert not sessions.settings.shows_failures
    assert (figures.success_rate(sessions, sessions.clock, 300), figures.active(sessions)) == (None, None)


@pytest.mark.parametrize("name", ["main", "disconnect", "ioop", "tcpinfo", "connect", "error"])
def test_the_quick_way_through_a_chunk_changes_nothing(name: str) -> None:
    """Line by line and record by record the account is the same."""
    log = corpus(name).log
    whole, slow = account_of(log).sessions, Sessions(lambda _endpoint, _at: False)
    for line in log.splitlines():
        record = dante_log.parse(line)
        if record is not None:
            slow.add(record)
    quick, slowly = whole.save(), slow.save()
    counted, other_counted = quick.counting, slowly.counting
    for one, other in (
        (counted.durations, other_counted.durations),
        (counted.setups, other_counted.setups),
    ):
        assert one[0] == other[0]
        assert one[1] == pytest.approx(other[1], abs=1e-3)
    assert counted.last_durations == pytest.approx(other_counted.last_durations, abs=1e-5)
    assert quick.clock == pytest.approx(slowly.clock, abs=0.01)  # a chunk's last line may be late
    for part in ("settings", "connections", "associations"):
        assert getattr(quick, part) == getattr(slowly, part), part
    for part in ("totals", "window", "by_bytes", "by_failures"):
        assert getattr(counted, part) == getattr(other_counted, part), part


def sessions_apart(chosen: Corpus) -> list[tuple[dict[str, Any], bytes]]:
    """Each session's truth with the lines that name its client."""
    lines = lines_of_each(chosen.log)
    starts: dict[str, list[float]] = {}
    for truth in chosen.sessions:
        starts.setdefault(truth["client"], []).append(truth["t_tcp"])
    apart = []
    for truth in chosen.sessions:
        later = [start for start in starts[truth["client"]] if start > truth["t_tcp"]]
        until = min(later, default=float("inf"))
        endpoints = [truth["client"], *([truth["udp_client"]] if truth["udp_client"] else [])]
        own = [line for endpoint in endpoints for line in lines.get(endpoint, [])]
        own = [line for line in own if truth["t_tcp"] - 0.05 <= stamp(line) < until - 0.05]
        own.sort(key=lambda line: (stamp(line), b"accept ]" in line))
        apart.append((truth, b"".join(line + b"\n" for line in own)))
    return apart


def stamp(line: bytes) -> float:
    return float(line.partition(b"(")[2].partition(b")")[0])


@pytest.mark.parametrize("name", ["main", "disconnect", "ioop", "tcpinfo", "connect", "error"])
def test_each_session_by_itself(name: str) -> None:  # noqa: C901, PLR0912 - one table of cases
    """Outcome, reason, bytes each way and duration of every single connection of a corpus."""
    chosen = corpus(name)
    wrong: list[tuple[object, ...]] = []
    durations: list[float] = []
    setups: list[float] = []
    compared = left = 0
    for truth, log in sessions_apart(chosen):
        if not visible(name, truth):
            continue
        compared += 1
        sessions = account_of(log).sessions
        totals = sessions.totals
        failed = [reason for reason, count in totals.failures.items() for _ in range(count)]
        if truth["outcome"] not in GRANTED:
            if failed != [REASONS[truth["reason"]]] or totals.successful:
                wrong.append((truth["kind"], failed, totals.successful))
            continue
        if failed or totals.successful != 1:
            wrong.append((truth["kind"], failed, totals.successful))
        if name == "connect":
            continue
        received, sent = sum(totals.received.values()), sum(totals.sent.values())
        want = truth["client_sent"], truth["client_received"]
        if truth["kind"] in LEFT_EARLY:
            left += 1
            if received != want[0] or not want[1] <= sent <= truth["server_sent"]:
                wrong.append((truth["kind"], (received, sent), want))
        elif truth["outcome"] == "udp_established":
            if not udp_agrees(truth, received, sent):
                wrong.append((truth["kind"], (received, sent), want))
        elif truth["kind"] == "server_rst_accept":
            # What was under way when the target reset may have been written to it or not.
            if received not in {0, want[0]} or sent != want[1]:
                wrong.append((truth["kind"], (received, sent), want))
        elif (received, sent) != want:
            wrong.append((truth["kind"], (received, sent), want))
        if sessions.counting.durations.count:
            durations.append(abs(sessions.counting.durations.sum - truth["duration_s"]))
        if sessions.counting.setups.count:
            setups.append(abs(sessions.counting.setups.sum - (truth["t_established"] - truth["t_tcp"])))
    print(
        f"\n{name}: {compared} connections one by one ({left} left with data under way), {len(wrong)} wrong"
    )
    assert not wrong
    assert len(durations) == {"main": 676, "ioop": 118, "tcpinfo": 117}.get(name, 0)
    for what, off in (("durations", sorted(durations)), ("set-up times", sorted(setups))):
        if off:
            middle, most = off[len(off) // 2], off[-1]
            print(f"{len(off)} {what} off by {middle * 1000:.2f} ms in the median, {most:.3f} s at most")
            assert middle < 0.001, what
            assert most < 0.1, what


HEADS = {
    "another program's before it": rb"2026-11-21T12:04:52.123456789Z stdout F \g<0>",
    "syslog": rb"\1 danted[\3]: ",
    "syslog with a host": rb"\1 proxyhost danted[\3]: ",
    "syslog with a priority": rb"<30>\1 proxyhost sockd[\3]: ",
    "syslog of busybox": rb"\1 proxyhost daemon.info sockd[\3]: ",
    "syslog of RFC 5424": rb"<30>1 2026-11-21T12:04:52.980816+00:00 proxyhost danted \3 - - ",
    "journalctl -o short-unix": rb"\2 proxyhost danted[\3]: ",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("name", ["main", "disconnect", "connect", "error", "ioop"])
def test_whatever_stands_before_the_message_the_counts_are_the_same(name: str, head: bytes) -> None:
    """A recorded log as it would have come another way."""
    log = corpus(name).log
    dantes = rb"(?m)^(\w{3} [ \d]\d [\d:]{8}) \((\d+\.\d{6})\) danted\[(\d+)\]: "
    account, other = account_of(log), account_of(re.sub(dantes, head, log))
    assert other.sessions.totals == account.sessions.totals
    assert (other.unparsed, other.lines) == (account.unparsed, account.lines)


MUSL = {
    b"Name or service not known": b"Name does not resolve",
    b"No address associated with hostname": b"Name has no usable address",
    b"Temporary failure in name resolution": b"Try again",
    b"No route to host": b"Host is unreachable",
    b"Network is unreachable": b"Network unreachable",
    b"Connection timed out": b"Operation timed out",
    b"Software caused connection abort": b"Connection aborted",
    b"Cannot assign requested address": b"Address not available",
}


@pytest.mark.parametrize("name", ["main", "disconnect", "error", "ioop"])
def test_the_words_of_musl_mean_the_same(name: str) -> None:
    """A recorded log as a Dante on Alpine would have written it."""
    log = corpus(name).log
    translated = log
    for glibc, musl in MUSL.items():
        translated = translated.replace(glibc, musl)
    assert translated != log
    assert account_of(translated).sessions.totals == account_of(log).sessions.totals


def test_restarts_kills_and_rotations() -> None:
    """Orphans of a terminated server drain their sessions; those of a killed child are lost."""
    account = DanteLog(Sessions(lambda _endpoint, _at: False))
    account.take(read("lifecycle.log.1"))
    account.take(read("lifecycle.log"))
    totals = account.sessions.totals
    assert totals.successful == 26  # of 29: three were cut out of the recording
    assert totals.closed["connect", "client"] == 26
    assert {cause: n for cause, n in totals.lost.items() if n} == {"child_died": 2}
    assert account.sessions.counting.durations.count == 23
    assert (len(account.sessions.connections), account.unparsed) == (0, 0)


def udp_agrees(truth: dict[str, Any], received: int, sent: int) -> bool:
    """Datagrams that were refused or whose name did not resolve are in no counter of Dante's."""
    if truth["kind"] in {"udp_blocked", "udp_nx"}:
        return (received, sent) == (0, 0)
    return (received, sent) == (truth["client_sent"], truth["client_received"])
