"""Fields that clients choose, made of what the server writes itself, move nothing but what really happened.

Lines are written as the server writes them, for sessions whose outcome and bytes are known beforehand. Each
field (user of every method, ident, host name asked for, host name in a reason) holds pieces of the grammar,
the client's own endpoints, those of another client whose session is open meanwhile.
"""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxywatch.dante import line as dante_line
from proxywatch.dante.log import DanteLog
from proxywatch.dante.records import Ambiguous
from proxywatch.dante.sessions import Sessions

P = "10.0.0.2.1080"
VICTIM, ATTACKER = "10.0.0.9.5555", "10.0.0.7.7777"
PIECES = [
    " -> ", ": ", "@", "%", " ", ".80", "bob", "username%", "[1.2.3.4] ", "]: ", '"', "\\012", "x.test",
    f"{VICTIM} {P}", f"{ATTACKER} {P}",
    f"@{VICTIM} {P} -> 7, 7777777777 -> 10.0.0.3.5 10.0.0.4.443 -> 7777777777",
    f"a@{ATTACKER} {P} -> 7, 7777777777 -> b", f"a@{VICTIM} {P}", f"a@{ATTACKER} {P}: eof from client",
    "7, 7777777777 -> ", "10.0.0.3.5 10.0.0.4.80", " -> 9: remote peer closed.  Session duration: 0s",
    "pass(1): tcp/accept [: ", ": connect timeout", 'could not resolve hostname "y": Try again',
    ": connect(2) to 1.1.1.1.1 from 2.2.2.2.2 failed: Permission denied",
]  # fmt: skip
NAMES = st.lists(st.sampled_from(PIECES), max_size=5).map("".join).map(lambda name: name[:250])
METHODS = [
    "",
    "username%",
    "pam.username%",
    "pam.any%",
    "rfc931%",
    "gssapi/clear%",
    "gssapi/confidentiality%",
]
IDENTS = st.sampled_from(["", "rfc931%"])
KINDS = ["connect", "rule", "name", "unreachable", "password", "bind", "refused"]


@dataclass
class Stage:
    """Writes lines as the server does, and knows the truth about them."""

    lines: list[str] = field(default_factory=list)
    opened: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    received: int = 0
    sent: int = 0

    def write(self, message: str) -> None:
        at = 1795262692 + len(self.lines) / 1000
        self.lines.append(f"Nov 21 12:04:52 ({at:.6f}) danted[7]: info: {message}\n")

    def begin(self, client: str, ident: str = "") -> None:
        self.write(f"pass(1): tcp/accept [: {ident}{client} {P}")

    def end(self, client: str, up: int, down: int, ident: str = "") -> None:
        self.write(
            f"pass(1): tcp/accept ]: {down} -> {ident}{client} {P} -> {up}: remote peer closed."
            "  Session duration: 0s"
        )

    def refuse(self, client: str, reason: str, kind: str, ident: str = "") -> None:
        self.write(f"block(1): tcp/accept ]: {ident}{client} {P}: {reason}")
        self.failed[kind] += 1

    def grant(self, client: str, user: str = "") -> None:
        self.write(f"pass(2): tcp/connect [: {user}{client} {P} -> 10.0.0.3.5 10.0.0.4.80")
        self.opened["connect"] += 1

    def serve(self, client: str, up: int, down: int, user: str = "") -> None:
        self.write(
            f"pass(2): tcp/connect ]: {down} -> {user}{client} {P} -> {up}, {up} -> 10.0.0.3.5 10.0.0.4.80 "
            f"-> {down}: remote peer closed.  Session duration: 0s"
        )
        self.received += up
        self.sent += down

    def attack(self, kind: str, user: str, ident: str, host: str) -> None:
        """One connection of a client who chooses its names."""
        c, asked = f"{user}{ATTACKER} {P}", f"{host}.80"
        self.begin(ATTACKER, ident)
        if kind == "connect":
            self.grant(ATTACKER, user)
            self.serve(ATTACKER, 18, 21, user)
            self.end(ATTACKER, 18, 21, ident)
        elif kind == "rule":
            self.write(f"block(3): tcp/connect ]: {c} -> 0.0.0.0.0 {asked}")
            self.refuse(ATTACKER, "blocked by higher-level socks-rule #3", "socks_rule", ident)
        elif kind == "name":
            reason = f'could not resolve hostname "{host}": Name or service not known'
            self.write(f"block(2): tcp/connect ]: {c}: {reason}")
            self.refuse(ATTACKER, f"request was not performed due to error: {reason}", "dns_not_found", ident)
        elif kind == "unreachable":
            reason = f"connect(2) to {asked} from 10.0.0.3.5 failed: No route to host"
            self.write(f"block(2): tcp/connect ]: {c} -> 10.0.0.3.5 {asked}: {reason}")
            self.refuse(ATTACKER, f"request was not performed due to error: {reason}", "no_route", ident)
        elif kind == "refused":
            self.write(
                f"pass(2): tcp/connect ]: 0 -> {c} -> 0, 0 -> 10.0.0.3.5 10.0.0.4.80 -> 0: "
                "remote peer error (Connection refused).  Session duration: 0s"
            )
            self.write(
                f"pass(1): tcp/accept ]: 0 -> {ident}{ATTACKER} {P} -> 0: "
                "remote peer error (Connection refused).  Session duration: 0s"
            )
            self.failed["refused"] += 1
        elif kind == "password":
            failed = f'system password authentication failed for user "{host}"'
            reason = f"error after reading 18 bytes in 0 seconds: {failed}"
            self.refuse(ATTACKER, reason, "auth_failed", ident)
        else:
            self.write(f"pass(2): tcp/bind [: {c} -> 10.0.0.3.9 10.0.0.4.0")
            self.write(f"pass(3): tcp/bindreply [: 10.0.0.4.5 10.0.0.3.9 -> {P} {user}{ATTACKER}")
            self.write(
                f"pass(3): tcp/bindreply ]: 18 -> 10.0.0.4.5 10.0.0.3.9 -> 21, 21 -> {P} {user}{ATTACKER}"
                " -> 18: local client closed.  Session duration: 0s"
            )
            self.write(f"pass(2): tcp/bind ]: {c} -> 10.0.0.3.9 10.0.0.4.0")
            self.write(
                f"pass(1): tcp/accept ]: 21 -> {ident}{ATTACKER} {P} -> 18: local client closed."
                "  Session duration: 0s"
            )
            self.opened["bind"] += 1
            self.received += 18
            self.sent += 21


def check(stage: Stage, *, ident: bool = False) -> DanteLog:
    """What is counted is what happened, whether the lines come one by one or all at once."""
    content = "".join(stage.lines).encode()
    logs = [DanteLog(Sessions(lambda _endpoint, _at: False)) for _ in range(2)]
    logs[0].take(content)
    for line in content.splitlines(keepends=True):
        logs[1].take(line)
    for log in logs:
        totals = log.sessions.totals
        opened = Counter({command: n for (command, _), n in totals.opened.items() if n})
        closed = Counter({command: n for (command, _), n in totals.closed.items() if n})
        assert log.unparsed == 0
        failures = Counter({reason: n for reason, n in totals.failures.items() if n})
        moved = (sum(totals.received.values()), sum(totals.sent.values()))
        assert sum(totals.lost.values()) == 0
        if ident and totals.ambiguous:  # the end of a connection may be ambiguous too: it moves nothing then
            assert closed.total() <= opened.total() <= stage.opened.total()
            assert len(log.sessions.connections) <= 1
            assert failures <= stage.failed
            assert moved <= (stage.received, stage.sent)
            continue
        assert len(log.sessions.connections) == 0
        assert opened.total() == stage.opened.total() == closed.total()
        assert totals.ambiguous or opened == stage.opened == closed
        assert failures == stage.failed
        assert moved == (stage.received, stage.sent)
    assert logs[0].sessions.totals == logs[1].sessions.totals
    return logs[0]


FORGED = f"a@10.0.0.8.5555 {P} -> 7, 7777777777 -> b"
OWN = f"a@{ATTACKER} {P} -> 7, 7777777777 -> b"


@example("connect", "pam.username%", FORGED, "", "x")
@example("connect", "pam.username%", OWN, "", "x")
@example("connect", "pam.username%", OWN.replace(ATTACKER, VICTIM), "", "x")
@example(
    "connect",
    "pam.username%",
    f"a@{VICTIM} {P} -> 7, 7777777777 -> 10.0.0.3.5 10.0.0.4.443 -> 9",
    "rfc931%",
    "x",
)
@example("rule", "username%", f"a@{VICTIM} {P}", "rfc931%", f"b@{VICTIM} {P}: c")
@example("bind", "username%", f"a@{VICTIM} {P}: ", "", "x")
@example("unreachable", "", "", "", "a.80: connect timeout")
@example("unreachable", "", "", "", "a.80: could not resolve hostname")
@given(st.sampled_from(KINDS), st.sampled_from(METHODS), NAMES.filter(bool), IDENTS, NAMES.filter(bool))
@settings(deadline=None, max_examples=400)
def test_whatever_a_client_chooses_what_happened_is_counted(
    kind: str, method: str, name: str, ident: str, host: str
) -> None:
    """Every field over every kind of line; another client's session, open meanwhile, is untouched."""
    stage = Stage()
    stage.begin(VICTIM)
    stage.grant(VICTIM)
    user = f"{method}{name}@" if method else ""
    stage.attack(kind, user, f"{ident}{name}@" if ident else "", host)
    stage.serve(VICTIM, 50, 58)
    stage.end(VICTIM, 50, 58)
    check(stage, ident=bool(ident))


def test_the_login_that_made_two_small_requests_into_gigabytes() -> None:
    """As a real server wrote it for a login that it accepted."""
    stage = Stage()
    for user in ("pam.username%eve@", f"pam.username%{FORGED}@"):
        stage.attack("connect", user, "", "x")
    log = check(stage)
    assert (log.sessions.totals.successful, log.sessions.totals.ambiguous) == (2, 0)


def test_what_stays_ambiguous_is_counted_as_such_and_moves_nothing() -> None:
    """A name that repeats the client's own endpoints: its connection's end tells what happened."""
    stage = Stage()
    name = f"a@{ATTACKER} {P} -> 7, 7777777777 -> 10.0.0.3.5 b"
    stage.attack("connect", f"username%{name}@", "", "x")
    log = check(stage)
    assert log.sessions.totals.ambiguous == 1
    assert log.sessions.totals.received == {"http": 0, "https": 0, "dns": 0, "other": 18}


@pytest.mark.parametrize("count", [8, 9, 80])
def test_a_name_with_many_readings_is_ambiguous(count: int) -> None:
    """Whoever floods the line with them hides the true one, and gains nothing."""
    stage = Stage()
    stage.attack("connect", f"username%{f'a@{VICTIM} {P} -> 1.1.1.1.1 ' * count}@", "", "x")
    record = dante_line.parse(stage.lines[1].encode()[:-1])
    assert isinstance(record, Ambiguous)
    check(stage)


def test_a_server_that_ends_cannot_be_forged_by_a_name() -> None:
    """Its own words stand at the begin of a message."""
    head = b"Nov 21 12:04:52 (1795262692.980816) danted[7]: warning: "
    for name in (
        b"mother unexpectedly closed",
        b"x(): mother unexpectedly",
        b"SIGHUP ]: x",
        b"EOF from io-child 7",
    ):
        assert dante_line.parse(head + b'could not DNS-resolve "' + name + b'": x') is None
