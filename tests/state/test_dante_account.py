"""The account of whole chunks of a log."""

from proxywatch.state.dante_account import DanteAccount
from proxywatch.state.sessions import Sessions

_SESSION = """\
Nov 21 15:08:46 ({at}.1) danted[85]: info: pass(1): tcp/accept [: 10.0.0.1.{port} 10.0.0.2.1080
Nov 21 15:08:46 ({at}.2) danted[102]: info: pass(1): tcp/connect [: 10.0.0.1.{port} 10.0.0.2.1080 -> 10.1.0.2.{port} 203.0.113.10.80
Nov 21 15:08:46 ({at}.3) danted[102]: info: pass(1): tcp/connect ]: 95 -> 10.0.0.1.{port} 10.0.0.2.1080 -> 84, 84 -> 10.1.0.2.{port} 203.0.113.10.80 -> 95: remote peer closed.  Session duration: 0s
Nov 21 15:08:46 ({at}.4) danted[102]: info: pass(1): tcp/accept ]: 95 -> 10.0.0.1.{port} 10.0.0.2.1080 -> 84: remote peer closed.  Session duration: 0s
"""  # noqa: E501


def test_plain_sessions_prove_that_ends_are_logged() -> None:
    """A log in which nothing ever goes wrong has a failure count, of zero, and a rate."""
    sessions = Sessions(lambda *_: False)
    account = DanteAccount(sessions)
    for number in range(60):
        account.take(_SESSION.format(at=1_795_273_726 + number, port=40_000 + number).encode())
    assert sessions.totals.successful == 60
    assert sum(sessions.totals.failures.values()) == 0
    assert sessions.settings.tells_failures
    assert sessions.settings.tells_rate
    assert sessions.connections == {}
