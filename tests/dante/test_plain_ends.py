"""Ends of sessions in which nothing is unusual show what Dante logs, as unusual ones do."""

from proxywatch.dante.log import DanteLog
from proxywatch.dante.sessions import Sessions

_SESSION = """\
Nov 21 15:03:{s:02} (17952734{s:02}.449882) danted[32]: info: pass(1): tcp/accept [: 10.90.12.1.{p} 10.90.12.2.1080
Nov 21 15:03:{s:02} (17952734{s:02}.450577) danted[49]: info: pass(2): tcp/connect [: 10.90.12.1.{p} 10.90.12.2.1080 -> 10.92.12.2.{p} 203.0.113.10.443
Nov 21 15:03:{s:02} (17952734{s:02}.648900) danted[49]: info: pass(2): tcp/connect ]: 30203 -> 10.90.12.1.{p} 10.90.12.2.1080 -> 57, 57 -> 10.92.12.2.{p} 203.0.113.10.443 -> 30203: remote peer closed.  Session duration: 0s
Nov 21 15:03:{s:02} (17952734{s:02}.648950) danted[49]: info: pass(1): tcp/accept ]: 30203 -> 10.90.12.1.{p} 10.90.12.2.1080 -> 57: remote peer closed.  Session duration: 0s
"""  # noqa: E501 - Dante's lines


def test_a_hundred_sessions_that_end_in_peace_prove_the_keyword_disconnect() -> None:
    """So that failures count as 0 and are not taken for hidden."""
    account = DanteLog(Sessions(is_own=lambda _client, _time: False))
    for number in range(100):
        account.take(_SESSION.format(s=number % 60, p=40000 + number).encode())
    assert account.sessions.settings.disconnect
    assert account.sessions.settings.shows_failures
    assert account.sessions.totals.closed["connect", "client"] == 100
    assert account.sessions.totals.received["https"] == 100 * 57
