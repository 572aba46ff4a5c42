"""What the rules of danted.conf log."""

from hypothesis import given
from hypothesis import strategies as st

from proxywatch.dante import conf
from proxywatch.dante.conf import Rule

CONF = b"""logoutput: /var/log/danted.log
# client pass { log: nothing }
client pass {
    from: 10.0.0.0/8 to: 0.0.0.0/0
    log: connect error # and more
}
socks block { from: 0/0 to: 10.0.0.0/8 log: connect disconnect command: connect }

pass {
    from: 0/0 to: 0/0
}
"""


def test_rules_their_keywords_and_lines() -> None:
    """One to a line or over several, with comments."""
    assert conf.rules(CONF) == [
        Rule("client pass", 5, frozenset({"connect", "error"})),
        Rule("socks block", 7, frozenset({"connect", "disconnect"})),
        Rule("pass", 9, frozenset()),
    ]


@given(st.binary())
def test_anything_else_has_no_rules_that_are_not_there(content: bytes) -> None:
    """Whatever the bytes are."""
    for rule in conf.rules(content):
        assert 1 <= rule.line <= content.count(b"\n") + 1


def test_where_the_log_goes() -> None:
    """Several outputs may stand in a line; comments do not count."""
    content = b"# logoutput: /a\nlogoutput: stderr /var/log/danted.log\n logoutput : syslog # /b\n"
    assert conf.outputs(content) == ["stderr", "/var/log/danted.log", "syslog"]
