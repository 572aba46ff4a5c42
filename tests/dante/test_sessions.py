"""What becomes of a session in odd courses of events."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxywatch.dante import figures
from proxywatch.dante import line as dante_log
from proxywatch.dante.log import DanteLog, SavedLog
from proxywatch.dante.sessions import Sessions
from support.corpora import corpus, read

C, P, OUT, T = "10.0.0.1.5", "10.0.0.2.1080", "10.0.0.3.5", "10.0.0.4.443"
ACCEPT = f"pass(1): tcp/accept [: {C} {P}"
CONNECT = f"pass(2): tcp/connect [: {C} {P} -> {OUT} {T}"
END = f"{P} -> 50, 50 -> {OUT} {T} -> 58: remote peer closed.  Session duration: 3s"
CONNECT_END = f"pass(2): tcp/connect ]: 58 -> {C} {END}"
ACCEPT_END = f"pass(1): tcp/accept ]: 58 -> {C} {P} -> 50: remote peer closed.  Session duration: 3s"


def restarted(log: DanteLog) -> SavedLog:
    """What a checkpoint keeps of a log."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(log.save()), type=SavedLog)


HEAD = "Nov 21 12:04:52 (1795262692.500000) danted[7]: info: "


class Log:
    """An account that is told messages, a second apart."""

    def __init__(self, **options: object) -> None:
        own = options.pop("own", ())
        self.account = DanteLog(Sessions(lambda endpoint, _at: endpoint.decode() in own, **options))  # type: ignore[operator,arg-type]
        self.time = 1795262692.5

    def tell(self, *messages: str, level: str = "info", pid: int = 7) -> Sessions:
        for message in messages:
            head = f"Nov 21 12:04:52 ({self.time:.6f}) danted[{pid}]: {level}: "
            self.account.take(f"{head}{message}\n".encode())
            self.time += 1
        return self.account.sessions


def test_a_plain_session() -> None:
    """Opened and closed once; the duration is from accept to accept, the set-up from accept to connect."""
    sessions = Log().tell(ACCEPT, CONNECT, CONNECT_END, ACCEPT_END)
    totals = sessions.totals
    assert (totals.successful, totals.failed) == (1, 0)
    assert (totals.opened["connect", "client"], totals.closed["connect", "client"]) == (1, 1)
    assert sessions.counting.durations.sum == pytest.approx(3)
    assert sessions.counting.setups.sum == pytest.approx(1)
    assert (totals.received["https"], totals.sent["https"]) == (50, 58)
    assert figures.active(sessions) == 0
    assert sessions.counting.by_bytes.top(1) == [(T.encode(), 108)]


@pytest.mark.parametrize(
    "seen", [[CONNECT_END, ACCEPT_END], [ACCEPT_END], [CONNECT, CONNECT_END, ACCEPT_END]]
)
def test_a_session_whose_begin_was_not_seen_is_counted_once_without_a_duration(seen: list[str]) -> None:
    """The exporter came later, or begins are not logged."""
    sessions = Log().tell(*seen)
    totals = sessions.totals
    assert (totals.successful, totals.opened["connect", "client"], totals.closed["connect", "client"]) == (
        1,
        1,
        1,
    )
    assert sessions.counting.durations.count == 0
    assert not sessions.connections


def test_a_client_that_uses_its_port_again() -> None:
    """The session of before, whose end is never logged, is lost and closed minutes later."""
    log = Log()
    log.tell(ACCEPT, CONNECT, pid=8)
    sessions = log.tell(ACCEPT, CONNECT, CONNECT_END, ACCEPT_END)
    totals = sessions.totals
    assert (totals.opened["connect", "client"], totals.closed["connect", "client"]) == (2, 1)
    assert sessions.counting.durations.count == 1
    assert sessions.counting.durations.sum == pytest.approx(3)
    log.time += 400
    log.tell(ACCEPT.replace(C, "10.0.0.9.9"))
    assert totals.closed["connect", "client"] == 2
    assert totals.lost["port_reused"] == 1
    assert not sessions.table.doubtful


def test_where_accepts_are_not_logged_a_port_that_comes_again_is_a_new_session() -> None:
    """`log:` on socks rules alone."""
    sessions = Log().tell(CONNECT, CONNECT_END, CONNECT, CONNECT_END)
    totals = sessions.totals
    assert (totals.opened["connect", "client"], totals.closed["connect", "client"]) == (2, 2)
    assert not any(totals.lost.values())


def test_memory_is_bounded_and_the_oldest_goes() -> None:
    """A cap, and a counter of what it cost."""
    log = Log(capacity=10)
    for port in range(30):
        log.tell(ACCEPT.replace(C, f"10.0.0.1.{port}"))
    sessions = log.account.sessions
    assert len(sessions.connections) == 10
    assert sessions.totals.lost["evicted"] == 20
    assert next(iter(sessions.connections)) == f"10.0.0.1.20 {P}".encode()


def test_a_request_that_is_refused_twice_ends_no_connection() -> None:
    """Only the end of the accept does, however many requests its client makes."""
    log = Log()
    for _ in range(10):
        log.tell(ACCEPT, CONNECT, CONNECT_END, ACCEPT_END)
    refused = f"block(1): tcp/connect ]: {C} {P} -> 0.0.0.0.0 {T}"
    sessions = log.tell(ACCEPT, refused, refused)
    assert (figures.active(sessions), sessions.totals.failed) == (1, 1)
    log.tell(f"block(1): tcp/accept ]: {C} {P}: blocked by higher-level socks-rule #1")
    assert (figures.active(sessions), sessions.totals.failed) == (0, 1)


def test_not_many_more_go_than_must() -> None:
    """They go by the dozen, as the first of so many is costly to find; a sixty-fourth at most."""
    log = Log(capacity=640)
    for port in range(700):
        log.tell(ACCEPT.replace(C, f"10.0.0.1.{port}"))
        assert port < 640 or 630 <= len(log.account.sessions.connections) <= 640


def test_a_child_that_served_an_association_serves_others_too() -> None:
    """The end of a connection is that of an association only when the sums are the same."""
    end = f"pass(2): udp/udpassociate ]: 70/1 -> 10.0.0.1.9 {P} -> 60/1: local client closed."
    end += "  Session duration: 1s"
    totals = Log().tell(end, ACCEPT_END).totals
    assert (totals.opened["udpassociate", "client"], totals.opened["connect", "client"]) == (1, 1)
    own = ACCEPT_END.replace("58 ->", "70 ->").replace("-> 50", "-> 0")
    totals = Log().tell(end, own).totals
    assert (totals.opened["udpassociate", "client"], totals.opened["connect", "client"]) == (1, 0)


def test_memory_is_bounded_when_sessions_that_were_given_up_come_back() -> None:
    """Those of another server that writes the same log."""
    log = Log(capacity=40)
    for port in range(10):
        log.tell(ACCEPT.replace(C, f"10.0.0.1.{port}"))
    log.tell("Dante/server[1/1] v1.4.4 running")
    for port in range(40):
        log.tell(ACCEPT.replace(C, f"10.0.0.9.{port}"))
    for port in range(10):
        log.tell(CONNECT.replace(C, f"10.0.0.1.{port}"))
        assert len(log.account.sessions.connections) <= 40
    assert log.account.sessions.counting.setups.count == 10


def test_memory_is_bounded_whatever_comes_again_or_is_given_up() -> None:
    """Ports that come again and again, and servers that start again and again."""
    log = Log(capacity=40)
    for times in range(30):
        for port in range(40):
            log.tell(ACCEPT.replace(C, f"10.0.0.1.{port}"), CONNECT.replace(C, f"10.0.0.1.{port}"))
        if times % 10 == 9:
            log.tell("Dante/server[1/1] v1.4.4 running")
        table = log.account.sessions.table
        assert max(len(table.last) / 4, len(table.doubtful), len(table.given_up)) <= 10
        assert all(len(some) <= 8 for some in (*table.doubtful.values(), *table.given_up.values()))
    totals = log.account.sessions.totals
    assert totals.opened["connect", "client"] == totals.closed["connect", "client"] == 30 * 40


def test_a_server_that_was_killed_leaves_nothing_open() -> None:
    """It starts anew without having said good-bye: nobody is left to write the ends."""
    sessions = Log().tell(ACCEPT, CONNECT, "Dante/server[1/1] v1.4.4 running")
    assert (sessions.totals.lost["server_killed"], len(sessions.connections)) == (1, 0)
    assert sessions.version == "1.4.4"


ENDING, RUNNING = "mother[1/1]: shutting down", "Dante/server[1/1] v1.4.2 running"


def test_a_server_that_ended_leaves_its_sessions_to_its_children() -> None:
    """They drain them; what they have not written in minutes, nobody will."""
    log = Log()
    log.tell(ACCEPT, CONNECT, ACCEPT.replace(C, "10.0.0.1.6"), CONNECT.replace(C, "10.0.0.1.6"), ENDING)
    totals = log.tell(RUNNING, pid=8).totals
    assert (totals.closed["connect", "client"], figures.active(log.account.sessions)) == (0, None)
    log.tell(CONNECT_END, ACCEPT_END)
    assert (totals.closed["connect", "client"], log.account.sessions.counting.durations.count) == (1, 1)
    assert totals.lost["server_killed"] == 0
    log.time += 400
    log.tell(ACCEPT.replace(C, "10.0.0.9.9"))
    assert (totals.closed["connect", "client"], totals.lost["server_killed"]) == (2, 1)
    log.tell(CONNECT_END.replace(C, "10.0.0.1.6"), ACCEPT_END.replace(C, "10.0.0.1.6"))
    assert (totals.opened["connect", "client"], totals.closed["connect", "client"]) == (2, 2)
    assert totals.received["https"] == 100


def test_a_container_that_is_started_anew_has_none_of_the_former_one() -> None:
    """Its server has the same number, so there is nobody to drain anything."""
    sessions = Log().tell(RUNNING, ACCEPT, CONNECT, ENDING, RUNNING)
    assert (sessions.totals.lost["server_killed"], sessions.totals.closed["connect", "client"]) == (1, 1)
    assert not sessions.table.doubtful


def test_two_servers_that_share_a_log_double_nothing() -> None:
    """When the second one starts, the first one's sessions seem lost; their ends come all the same."""
    log = Log()
    sessions = log.tell(ACCEPT, CONNECT, "Dante/server[1/1] v1.4.4 running", CONNECT_END, ACCEPT_END)
    totals = sessions.totals
    assert (totals.opened["connect", "client"], totals.closed["connect", "client"]) == (1, 1)
    assert (totals.lost["server_killed"], totals.received["https"], sessions.counting.durations.count) == (
        1,
        50,
        1,
    )
    log.tell(ACCEPT, "Dante/server[1/1] v1.4.4 running", CONNECT, CONNECT_END, ACCEPT_END)
    assert (totals.opened["connect", "client"], totals.closed["connect", "client"]) == (2, 2)
    assert sessions.counting.setups.sum == pytest.approx(1 + 2)
    log.tell(ACCEPT, CONNECT, "Dante/server[1/1] v1.4.4 running")
    log.tell(ACCEPT, CONNECT, CONNECT_END, ACCEPT_END)
    assert (totals.opened["connect", "client"], totals.closed["connect", "client"]) == (4, 4)
    assert (totals.lost["server_killed"], totals.lost["port_reused"]) == (3, 0)
    assert not sessions.connections
    log.tell(CONNECT, "Dante/server[1/1] v1.4.4 running", CONNECT, CONNECT_END)  # accepts are not logged
    assert (totals.opened["connect", "client"], totals.closed["connect", "client"]) == (6, 6)
    assert (totals.lost["server_killed"], totals.lost["port_reused"]) == (4, 0)


def test_an_association_that_was_given_up_is_not_counted_twice_when_it_ends() -> None:
    """Another server started meanwhile; its bytes count all the same, also after a restart of ours."""
    begun = f"pass(2): udp/udpassociate [: 10.0.0.1.99 {P}"
    moved = f"10.0.0.1.99 {P} -> 40/1, 30/1 -> {OUT} 10.0.0.4.53 -> 10/1"
    ended = f"pass(2): udp/udpassociate ]: 20/1 -> {moved}: local client closed.  Session duration: 9s"
    goodbye = f"pass(1): tcp/accept ]: 20 -> {C} {P} -> 30: local client closed.  Session duration: 9s"
    running = "Dante/server[1/1] v1.4.4 running"
    log, later = Log(), Log()
    log.tell(ACCEPT, begun, running, running)
    later.account.restore(restarted(log.account))
    for each in (log, later):
        totals = each.tell(ended, goodbye).totals
        assert totals.opened["udpassociate", "client"] == totals.closed["udpassociate", "client"] == 1
        assert (totals.received["dns"], totals.sent["dns"], totals.lost["server_killed"]) == (30, 10, 1)
        assert (totals.successful, totals.failed, totals.opened["connect", "client"]) == (1, 0, 0)
        assert not each.account.sessions.connections


def test_a_session_that_was_given_up_is_known_after_a_restart_of_ours() -> None:
    """Its end comes from another server's orphaned child."""
    log, later = Log(), Log()
    log.tell(ACCEPT, CONNECT, "Dante/server[1/1] v1.4.4 running")
    later.account.restore(restarted(log.account))
    totals = later.tell(CONNECT_END, ACCEPT_END).totals
    assert totals.opened["connect", "client"] == totals.closed["connect", "client"] == 1
    assert (totals.received["https"], totals.sent["https"]) == (50, 58)


def syslog(stamp: str, message: str) -> bytes:
    return f"{stamp} host danted[7]: info: {message}\n".encode()


def test_a_year_that_ends_during_a_session() -> None:
    """Through syslog the log's clock begins anew; the session lasts as long as it did."""
    account = DanteLog(Sessions(lambda _endpoint, _at: False))
    account.take(syslog("Dec 31 23:59:58", ACCEPT) + syslog("Jan  1 00:00:01", CONNECT))
    account.take(syslog("Jan  1 00:00:03", CONNECT_END) + syslog("Jan  1 00:00:03", ACCEPT_END))
    sessions = account.sessions
    assert (sessions.counting.durations.sum, sessions.counting.setups.sum) == (5, 3)
    assert sessions.clock == 3
    assert figures.success_rate(sessions, sessions.clock, 300) == 100


@pytest.mark.parametrize("back", [70, 600, 3600, 90000])
def test_a_clock_that_is_set_back(back: int) -> None:
    """The windows go on from there; what lasted over it has the duration that the log says."""
    log = Log()
    log.tell(ACCEPT, CONNECT)
    log.time -= back
    sessions = log.tell(CONNECT_END, ACCEPT_END)
    assert (sessions.counting.durations.count, figures.mean_duration(sessions)) == (1, 3.0)
    assert sessions.totals.closed["connect", "client"] == 1
    assert sessions.clock == log.time - 1
    log.tell(ACCEPT, CONNECT, CONNECT_END, ACCEPT_END)
    assert sessions.counting.durations.sum == pytest.approx(6)
    assert figures.success_rate(sessions, sessions.clock, 300) == 100


def test_lines_that_are_late_by_milliseconds_move_no_clock() -> None:
    """Neighbouring lines of two children can be out of order; nothing lasted less than nothing."""
    log = Log()
    log.tell(ACCEPT)
    log.time -= 1.005
    sessions = log.tell(CONNECT)
    assert sessions.clock == log.time - 1 + 0.005
    assert (sessions.counting.setups.count, sessions.counting.setups.sum) == (1, 0)


def test_associations_are_bounded_too() -> None:
    """One that is forgotten is counted closed, and lost."""
    log = Log(capacity=5)
    for port in range(8):
        log.tell(f"pass(2): udp/udpassociate [: 10.0.0.1.99 10.0.0.2.{port}")
    totals = log.account.sessions.totals
    assert (totals.opened["udpassociate", "client"], totals.closed["udpassociate", "client"]) == (8, 3)
    assert totals.lost["evicted"] == 3


def test_our_own_probes_are_kept_apart() -> None:
    """By origin always, and from the requests when they are not to be included."""
    session = [ACCEPT, CONNECT, CONNECT_END, ACCEPT_END]
    included = Log(own=(C,)).tell(*session).totals
    assert (included.opened["connect", "self"], included.closed["connect", "self"], included.successful) == (
        1,
        1,
        1,
    )
    apart = Log(own=(C,), include_own=False).tell(*session).totals
    assert (apart.opened["connect", "self"], apart.successful) == (1, 0)
    refused = f"block(1): tcp/connect ]: {C} {P} -> 0.0.0.0.0 {T}"
    assert Log(own=(C,), include_own=False).tell(ACCEPT, refused).totals.failed == 0


def test_an_association_whose_own_end_is_not_logged() -> None:
    """The end of its connection is its end, and no second request."""
    grant = f"pass(2): udp/udpassociate [: 10.0.0.1.99 {P}"
    end = f"pass(1): tcp/accept ]: 110 -> {C} {P} -> 100: local client closed.  Session duration: 1s"
    totals = Log().tell(ACCEPT, grant, end).totals
    assert (
        totals.successful,
        totals.closed["udpassociate", "client"],
        totals.closed["connect", "client"],
    ) == (1, 1, 0)


def test_the_window_goes_by_the_time_of_the_log() -> None:
    """Successes and failures of the last seconds; none is absent, not zero."""
    log = Log()
    sessions = log.tell(ACCEPT, CONNECT, CONNECT_END, ACCEPT_END)
    assert figures.success_rate(sessions, sessions.clock, 300) == 100
    log.tell(ACCEPT, f"block(1): tcp/connect ]: {C} {P} -> 0.0.0.0.0 {T}")
    assert figures.success_rate(sessions, sessions.clock, 300) == 50
    assert figures.request_rate(sessions, sessions.clock) == 2
    assert figures.success_rate(sessions, sessions.clock + 301, 300) is None
    assert figures.request_rate(sessions, sessions.clock + 61) == 0


def test_the_clock_of_the_log() -> None:
    """It stands while lines wait, runs once all is read, and knows how old the last line was."""
    log = Log()
    sessions = log.tell(ACCEPT)
    assert log.account.now(50.0) == sessions.clock
    log.account.caught_up(age=7.0, monotonic=100.0)
    assert log.account.now(103.0) == sessions.clock + 10
    log.tell(ACCEPT)
    assert log.account.now(200.0) == sessions.clock
    log.account.caught_up(age=0.0, monotonic=200.0)
    log.account.caught_up(age=9.0, monotonic=250.0)  # nothing came: the log's clock ran on by itself
    assert log.account.now(251.0) == sessions.clock + 51


def test_what_is_kept_of_long_lines_is_cut() -> None:
    """An unparsed one, and the words of a failure: a name may be long, a line a megabyte."""
    log = Log()
    log.account.take(b"x" * 100_000 + b"\n")
    assert log.account.example == b""  # nothing says that this is a log of Dante's
    log.account.take(b"x" * 100_000 + b"\n" + f"{HEAD}{ACCEPT}\n".encode())
    assert log.account.example == b"x" * 500
    log.tell(ACCEPT, f'block(1): tcp/connect ]: {C} {P}: could not resolve hostname "{"x" * 900}": Try again')
    [failure] = log.account.sessions.counting.recent()
    assert (len(failure.text), failure.reason) == (200, "dns_temporary")


@pytest.mark.parametrize("name", ["main", "disconnect", "tcpinfo", "lifecycle.log.1"])
def test_an_account_that_is_saved_and_restored_goes_on_as_if_nothing_had_been(name: str) -> None:
    """At any line of a recorded log."""
    log = read(f"{name}.log") if "." not in name else read(name)
    whole = DanteLog(Sessions(lambda _endpoint, _at: False))
    whole.take(log)
    for part in (1, 2, 3):
        cut = log.index(b"\n", len(log) * part // 4) + 1
        first, second = (DanteLog(Sessions(lambda _endpoint, _at: False)) for _ in range(2))
        first.take(log[:cut])
        second.restore(restarted(first))
        second.take(log[cut:])
        assert msgspec.structs.asdict(second.sessions.save()) == msgspec.structs.asdict(whole.sessions.save())


def test_the_quick_way_and_the_records_give_the_same_account() -> None:
    """Plain lines that were never made a record count as if they had been."""
    for name in ("main", "disconnect", "tcpinfo", "connect", "error", "ioop"):
        log = corpus(name).log
        quick = DanteLog(Sessions(lambda _endpoint, _at: False))
        quick.take(log)
        slow = Sessions(lambda _endpoint, _at: False)
        for line in log.split(b"\n")[:-1]:
            record = dante_log.parse(line)
            if record is not None:
                slow.add(record)
        assert quick.sessions.save() == slow.save()


@given(st.lists(st.sampled_from([ACCEPT, CONNECT, CONNECT_END, ACCEPT_END, "mother[1/1]: shutting down",
                                 "Dante/server[1/1] v1.4.2 running"]), max_size=30))  # fmt: skip
@settings(deadline=None)
def test_in_any_order_no_more_is_closed_than_was_opened(messages: list[str]) -> None:
    """Whatever the log does."""
    sessions = Log().tell(*messages)
    totals = sessions.totals
    assert 0 <= sum(totals.closed.values()) <= sum(totals.opened.values())
