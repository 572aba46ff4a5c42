"""Logs of a real Dante in odd courses of events, against what clients and targets counted.

`courses/truth.json` has the sums of what the drivers did and saw; they never read a log. The servers' logs
have nine connections in every phase that there is when the server, or a child of it, is ended in some way.
"""

import gzip
import json
from typing import Any

import msgspec
import pytest

from proxywatch.dante import figures
from proxywatch.dante import line as dante_log
from proxywatch.dante.log import DanteLog, SavedLog
from proxywatch.dante.sessions import Sessions
from support.corpora import FIXTURES

COURSES = FIXTURES / "courses"
TRUTH: dict[str, dict[str, Any]] = json.loads((COURSES / "truth.json").read_text())
RULES: dict[str, dict[str, Any]] = json.loads((COURSES / "rules.truth.json").read_text())
NO_BEGINS = {"bind-disconnect", "udp-disconnect", "udp-announced"}
LONG = 1000.0  # seconds, after which nobody waits for an end

# Connections that were under way when all of Dante was ended, or that a child took with it.
EVERY_PHASE = {"connect": 3, "bind": 2, "udpassociate": 1}
SERVERS: dict[str, tuple[dict[str, int], int]] = {
    "container-stop-pid1": (EVERY_PHASE, 8),
    "five-hups-every-phase": (EVERY_PHASE | {"connect": 2}, 0),
    "n3-sigterm-restart-drain": ({"connect": 12}, 0),
    "one-client-port-two-listeners": ({"connect": 2}, 0),
    "resets-and-timeouts": ({"connect": 2, "bind": 3, "udpassociate": 7}, 0),
    "sigkill-mother-every-phase": (EVERY_PHASE, 2),
    "sigterm-every-phase": (EVERY_PHASE, 2),
    "sigterm-then-kill-all": (EVERY_PHASE, 8),
    "sigterm-to-all-as-systemd": (EVERY_PHASE, 8),
    "udp-by-name": ({"udpassociate": 1}, 0),
    "udp-no-datagram": ({"udpassociate": 1}, 0),
    "udp-stated-and-silent": ({"udpassociate": 2}, 0),
}


def log_of(name: str) -> bytes:
    return gzip.decompress((COURSES / f"{name}.log.gz").read_bytes())


def new() -> DanteLog:
    return DanteLog(Sessions(lambda _endpoint, _at: False))


def by_command(counts: dict[tuple[str, str], int]) -> dict[str, int]:
    return {command: count for (command, _), count in counts.items() if count}


@pytest.mark.parametrize("name", TRUTH)
def test_every_sum_is_as_the_driver_saw_it(name: str) -> None:
    """Ports that come again before the old session has ended, odd names, all limits, all ways to end."""
    truth, account = TRUTH[name], new()
    account.take(log_of(name))
    sessions = account.sessions
    totals = sessions.totals
    assert by_command(totals.opened) == by_command(totals.closed) == truth["opened"]
    assert {reason: count for reason, count in totals.failures.items() if count} == truth["failed"]
    assert (sum(totals.received.values()), sum(totals.sent.values())) == (truth["received"], truth["sent"])
    assert (totals.probes, account.unparsed) == (truth["health_checks"], 0)
    assert not any(totals.lost.values())
    assert not sessions.connections
    if name not in NO_BEGINS:
        assert sessions.counting.durations.count == sum(truth["opened"].values())
    print(f"\n{name}: of {truth['connections']} opened {truth['opened']}, failed {totals.failed}: equal")


@pytest.mark.parametrize("name", ["rules-socks", "rules-socks-disconnect", "rules-client-connect"])
def test_where_client_rules_do_not_log_as_socks_rules_do(name: str) -> None:
    """Sessions and bytes are right; failures, which only client rules write all of, are not told."""
    account = new()
    account.take(log_of(name))
    sessions = account.sessions
    totals, settings = sessions.totals, sessions.settings
    assert by_command(totals.opened) == RULES[name]["opened"]
    assert (sum(totals.received.values()), sum(totals.sent.values())) == (
        RULES[name]["received"],
        RULES[name]["sent"],
    )
    assert (settings.shows_successes, settings.shows_ends) == (True, True)
    assert (settings.shows_failures, settings.shows_durations) == (False, False)
    assert (
        figures.success_rate(sessions, sessions.clock, 300),
        figures.active(sessions),
        account.unparsed,
    ) == (
        None,
        None,
        0,
    )
    assert "durations and open connections" in settings.cannot_tell()


def test_limits_prove_nothing_but_that_begins_are_logged() -> None:
    """A refusal by a limit is written whatever the keywords: no rate, no count of what is open."""
    account = new()
    account.take(log_of("rules-connect-per-key"))
    sessions = account.sessions
    assert by_command(sessions.totals.opened) == RULES["rules-connect-per-key"]["opened"]
    assert (figures.success_rate(sessions, sessions.clock, 300), figures.active(sessions)) == (None, None)


@pytest.mark.parametrize("name", SERVERS)
def test_every_session_of_a_server_that_ends_is_opened_and_closed_once(name: str) -> None:
    """Whoever is left drains his sessions; what has no end is given up."""
    opened, lost = SERVERS[name]
    account = new()
    account.take(log_of(f"server-{name}"))
    sessions = account.sessions
    sessions.table.look(sessions.clock + LONG)
    assert by_command(sessions.totals.opened) == by_command(sessions.totals.closed) == opened
    assert sum(sessions.totals.lost.values()) == lost
    assert (len(sessions.connections), account.unparsed) == (0, 0)


@pytest.mark.parametrize("path", sorted(path.name for path in COURSES.glob("*.log.gz")))
def test_neither_a_restart_nor_the_quick_way_changes_an_account(path: str) -> None:
    """Saved and restored between every two lines, and read record by record."""
    log = log_of(path.removesuffix(".log.gz"))
    lines = log.splitlines(keepends=True)
    whole, restarted, slow = new(), new(), new()
    whole.take(log)
    for number, line in enumerate(lines):
        restarted.take(line)
        if len(lines) < 300 or number % 50 == 0:
            saved = msgspec.msgpack.encode(restarted.save())
            restarted = new()
            restarted.restore(msgspec.msgpack.decode(saved, type=SavedLog))
        record = dante_log.parse(line.removesuffix(b"\n"))
        if record is not None:
            slow.sessions.add(record)
    for other in (restarted, slow):
        assert other.sessions.totals == whole.sessions.totals
        assert other.sessions.settings == whole.sessions.settings
        assert other.sessions.table.save() == whole.sessions.table.save()
        assert other.sessions.associations.save() == whole.sessions.associations.save()
        assert other.sessions.counting.durations.counts == whole.sessions.counting.durations.counts
