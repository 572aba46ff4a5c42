"""The account over looks and reports: whose connection it is, what counts when, and what is not known."""

from collections.abc import Sequence
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.tcp.account import TcpAccount
from proxywatch.tcp.sides import Scope
from proxywatch.tcp.totals import Totals
from support.tcp_rows import ESTABLISHED, LISTEN, SYN_SENT, info, row, zeroed

POD, CLIENT, FAR, PROBE = "10.0.0.1", "10.0.0.9", "203.0.113.5", "127.0.0.1"
PORT, OURS = 1080, 9999
LISTENERS = (row((POD, PORT), state=LISTEN, inode=7, uid=0), row((POD, 9090), state=LISTEN, inode=8))


class Story:
    """An account with looks a second apart."""

    def __init__(self, scope: Scope = "all", listeners: Sequence[bytes] = LISTENERS) -> None:
        self.account = TcpAccount(PORT, self.is_own, self.is_local)
        self.account.sides.scope = scope
        self.listeners = listeners
        self.now = 100.0

    @staticmethod
    def is_own(_address: bytes, port: int) -> bool:
        return port == OURS

    @staticmethod
    def is_local(address: bytes) -> bool:
        return str(ip_address(address)) in (POD, PROBE)

    def look(self, *rows: bytes, after: float = 1.0, complete: bool = True) -> None:
        self.now += after
        for listener in self.listeners:
            self.account.listener(listener, self.now)
        self.account.sides.forget(self.now)
        self.account.connections.begin(self.now)
        for it in rows:
            self.account.living(it)
        self.account.connections.finish(complete=complete)

    def end(self, *reports: bytes, after: float = 0.0, probing: bool = False) -> None:
        self.now += after
        self.account.ends(reports, self.now, probing=probing)
        self.account.connections.settle(self.now)

    @property
    def client(self) -> Totals:
        return self.account.connections.totals["client"]

    @property
    def upstream(self) -> Totals:
        return self.account.connections.totals["upstream"]


def client(cookie: int, counters: bytes, port: int = 4000, **more: int) -> bytes:
    return row((POD, PORT), (CLIENT, port), cookie=cookie, info=counters, **more)


def upstream(cookie: int, counters: bytes, port: int = 5000, **more: int) -> bytes:
    return row((POD, port), (FAR, 443), cookie=cookie, info=counters, **more)


def test_one_that_no_look_found() -> None:
    """It counts as a whole when its end is reported."""
    story = Story()
    story.look()
    story.end(client(1, info(sent=700, received=50, segments=9, retransmitted=2)), after=0.5)
    story.end(upstream(2, info(sent=40, received=690, dialled=True, out_of_order=3)))
    it = story.client
    assert (it.opened, it.closed["fin"], it.sent, it.received) == (1, 1, 700, 50)
    assert (it.segments, it.retransmitted, it.out_of_order) == (9, 2, 0)
    it = story.upstream
    assert (it.opened, it.closed["fin"], it.sent, it.received, it.out_of_order) == (1, 1, 40, 690, 3)


def test_what_moves_counts_as_it_moves() -> None:
    """At each look, and the rest at the end; nothing twice."""
    story = Story()
    story.look()
    story.look(client(1, info(sent=100, received=10, fin=False), state=ESTABLISHED, inode=5))
    assert (story.client.opened, story.client.sent, story.account.connections.open("client")) == (1, 100, 1)
    story.look(client(1, info(sent=1000, received=20, fin=False), state=ESTABLISHED, inode=5))
    assert story.client.sent == 1000
    story.end(client(1, info(sent=1500, received=20)))
    it = story.client
    assert (it.opened, it.sent, it.received, it.closed["fin"], it.ended_bytes) == (1, 1500, 20, 1, 1520)
    assert story.account.connections.open("client") == 0


def test_what_was_there_before_counts_from_then_on() -> None:
    """It was not opened under our eyes, and nobody knows how long it lasted."""
    story = Story()
    story.look(client(1, info(sent=10_000, fin=False), state=ESTABLISHED, inode=5))
    story.end(client(1, info(sent=10_500)))
    it = story.client
    assert (it.opened, it.closed["fin"], it.sent, it.durations.count) == (0, 1, 500, 0)


def test_reports_of_before_the_first_look_are_not_ours() -> None:
    """Nobody knows what they were."""
    story = Story()
    story.end(client(1, info(sent=10)))
    story.look()
    assert (story.client.opened, story.client.closed["fin"]) == (0, 0)


def test_before_the_proxy_listens_nothing_is_its() -> None:
    """Neither side is told."""
    story = Story(listeners=())
    story.look(upstream(1, info(dialled=True), state=ESTABLISHED, inode=5))
    story.end(upstream(2, info(sent=5, dialled=True)))
    assert (story.account.known(), story.upstream.opened, story.account.report()) == ({}, 0, None)


@pytest.mark.parametrize(
    ("local", "remote", "side"),
    [
        ((POD, PORT), (CLIENT, 4000), "client"),
        (("fd00::1", PORT), ("fd00::9", 4000), "client"),
        ((POD, 5000), (FAR, 443), "upstream"),
        (("fd00::1", 5000), ("2001:db8::5", 443), "upstream"),
        ((POD, 5000), (FAR, PORT), "upstream"),  # another proxy behind it, on the same port
        ((PROBE, PORT), (PROBE, OURS), ""),  # our probe
        ((PROBE, OURS), (PROBE, PORT), ""),  # its other end
        ((POD, OURS), (FAR, 443), ""),  # a transfer of ours beside the proxy
        ((POD, 4000), (POD, PORT), ""),  # a client of this very namespace: its other end counts
        ((POD, 9090), (CLIENT, 4000), ""),  # a scrape
        ((PROBE, 5000), (PROBE, 9999), ""),  # a health check of a container engine's
        ((POD, 0), (FAR, 443), ""),
    ],
)
@pytest.mark.parametrize("found", [False, True])
def test_whose_it_is(local: tuple[str, int], remote: tuple[str, int], side: str, *, found: bool) -> None:
    """By ports and addresses, whether a look found it or not."""
    story = Story()
    story.look()
    if found:
        story.look(row(local, remote, cookie=3, state=ESTABLISHED, inode=5, info=info(fin=False)))
    story.end(row(local, remote, cookie=3, info=info(sent=5, dialled=side == "upstream")), after=0.1)
    opened = {name: it.opened for name, it in story.account.connections.totals.items()}
    assert opened == {"client": 0, "upstream": 0} | ({side: 1} if side else {})
    assert story.account.connections.reported == 1


def test_a_port_that_nobody_listens_on_any_more() -> None:
    """Connections of a listener that has ended are its for a minute still."""
    story = Story()
    story.look()
    story.listeners = LISTENERS[:1]
    story.look(after=50)
    story.end(row((POD, 9090), (CLIENT, 4000), cookie=1, info=info(sent=1)))
    assert story.upstream.opened == 0
    story.look(after=20)
    story.end(row((POD, 9090), (FAR, 443), cookie=2, info=info(sent=1, dialled=True)))
    assert story.upstream.opened == 1


def test_how_they_end() -> None:
    """In order, broken off, never established, on an old kernel."""
    story = Story()
    story.look()
    story.end(
        client(1, info(sent=9)),
        client(2, info(sent=9, fin=False)),
        client(3, info(sent=9, size=192)),
        upstream(4, info(sent=9, dialled=True)),
        upstream(5, info(sent=9, dialled=True, fin=False)),
        upstream(6, info(dialled=True, answered=False)),
        row((POD, 5000), cookie=7, info=info(answered=False, segments=0)),
    )
    assert story.client.closed == {"fin": 1, "reset": 1, "failed": 0, "unknown": 1}
    assert story.upstream.closed == {"fin": 1, "reset": 1, "failed": 2, "unknown": 0}
    assert story.upstream.durations.count == 2, "a dial that failed is no connection that lasted"


@pytest.mark.parametrize("known", [True, False])
def test_a_connection_whose_counters_were_cleared(*, known: bool) -> None:
    """What the last look saw stays, and it is told that there may be more."""
    story = Story()
    story.look()
    if known:
        story.look(client(1, info(sent=800, fin=False), state=ESTABLISHED, inode=5))
    story.end(row((POD, PORT), cookie=1, info=zeroed()), after=0.5)
    it = story.client
    assert (it.opened, it.closed["reset"], it.sent) == (1, 1, 800 if known else 0)
    assert story.account.missed()["zeroed"] == 1


def test_an_end_that_was_not_reported() -> None:
    """Two looks do not find it: it has ended, nobody knows how. One look alone may be too early."""
    story = Story()
    story.look()
    story.look(client(1, info(sent=300, fin=False), state=ESTABLISHED, inode=5))
    story.look()
    assert story.client.closed["unknown"] == 0
    story.look(complete=False)
    story.look()
    assert (story.client.closed["unknown"], story.client.sent) == (1, 300)
    story.end(client(1, info(sent=300)))  # late all the same: it counts as one that no look found


def test_a_row_that_is_older_than_its_end() -> None:
    """The kernel fills a part of a dump ahead: whoever ended meanwhile is not taken for living."""
    story = Story()
    story.look()
    connections = story.account.connections
    connections.begin(story.now + 1)
    story.end(client(1, info(sent=5)))
    story.account.living(client(1, info(sent=5, fin=False), state=ESTABLISHED, inode=5))
    connections.finish(complete=True)
    assert (story.client.opened, connections.open("client")) == (1, 0)


def test_more_than_are_remembered() -> None:
    """Those beyond the bound count as a whole at their end."""
    story = Story()
    story.account.connections._capacity = 2
    story.look()
    rows = [
        client(n, info(sent=10, fin=False), port=4000 + n, state=ESTABLISHED, inode=5) for n in range(1, 5)
    ]
    story.look(*rows)
    assert story.client.opened == 2
    story.end(*(client(n, info(sent=10), port=4000 + n) for n in range(1, 5)))
    assert (story.client.opened, story.client.closed["fin"], story.client.sent) == (4, 4, 40)


# Durations


def test_durations_are_within_a_look() -> None:
    """In the class of what is possible; the mean counts looks, so that short ones do not distort it."""
    story = Story()
    story.look()
    for n in range(10):  # ten that last 12 seconds
        it = client(n, info(fin=False), port=4000 + n, state=ESTABLISHED, inode=5)
        for _ in range(12):
            story.look(it)
        story.end(client(n, info()), after=0.5)
        story.look(after=0.5)
    histogram = story.client.durations
    assert dict(zip(histogram.bounds, histogram.counts, strict=True))[30.0] == 10
    assert histogram.sum / histogram.count == pytest.approx(12.0)
    for n in range(90):  # and ninety that no look finds
        story.end(client(100 + n, info(), port=5000 + n), after=0.01)
    assert histogram.counts[0] == 90
    assert story.client.mean_duration() == pytest.approx(1.2)


@pytest.mark.parametrize("mean", [0.05, 0.5, 4.0])
def test_the_mean_duration_is_right_however_short_they_are(mean: float) -> None:
    """Looks a second apart: within the error of sampling, though most of the short ones are never seen."""
    dice = Random(7)
    lives = [(dice.uniform(1, 200), dice.expovariate(1 / mean)) for _ in range(2000)]
    ends = sorted((begin + length, n) for n, (begin, length) in enumerate(lives))
    story = Story()
    story.now = -1.0
    for tick in range(260):
        while ends and ends[0][0] <= tick:
            story.now, n = ends.pop(0)
            story.end(client(n, info(), port=2000 + n))
        living = [n for n, (begin, length) in enumerate(lives) if begin <= tick < begin + length]
        story.now = tick - 1.0
        story.look(*(client(n, info(fin=False), port=2000 + n, state=ESTABLISHED, inode=5) for n in living))
    counted = story.client.durations
    truth = sum(length for _, length in lives) / len(lives)
    assert counted.count == 2000
    assert counted.sum / counted.count == pytest.approx(truth, abs=3 * 0.5 / 2000**0.5)


# A host that others share


def test_a_shared_host_by_control_group() -> None:
    """Connections of the listener's control group are the proxy's; what no look found may be."""
    listener = row((POD, PORT), state=LISTEN, inode=7, uid=13, cgroup=500)
    story = Story("owner", listeners=[listener])
    story.look()
    story.look(
        upstream(1, info(dialled=True, fin=False), state=ESTABLISHED, inode=5, uid=65534, cgroup=500),
        upstream(2, info(dialled=True, fin=False), port=5001, state=ESTABLISHED, inode=6, uid=13, cgroup=600),
    )
    story.end(
        upstream(1, info(sent=50, dialled=True)),
        upstream(2, info(sent=60, dialled=True), port=5001),
        upstream(3, info(sent=70, dialled=True), port=5002),
    )
    assert (story.upstream.opened, story.upstream.sent) == (1, 50)
    assert story.account.missed()["unattributed"] == 1
    report = story.account.report()
    assert report is not None
    assert "host" in report.note


def test_a_shared_host_by_user() -> None:
    """Where the control group is the root, the users of the proxy's own sockets tell."""
    listener = row((POD, PORT), state=LISTEN, inode=7, uid=0, cgroup=1)
    served = client(9, info(fin=False), state=ESTABLISHED, inode=5, uid=65534, cgroup=1)
    story = Story("owner", listeners=[listener])
    story.look(served)
    story.look(
        served,
        upstream(1, info(dialled=True, fin=False), state=ESTABLISHED, inode=5, uid=65534, cgroup=1),
        upstream(2, info(dialled=True, fin=False), port=5001, state=ESTABLISHED, inode=6, uid=1000, cgroup=1),
    )
    assert story.account.connections.open("upstream") == 1


def test_only_clients() -> None:
    """`off`: nothing is said of destinations."""
    story = Story("off")
    story.look()
    story.end(upstream(1, info(dialled=True)), client(2, info()))
    assert (list(story.account.known()), story.account.missed()["unattributed"]) == (["client"], 0)


def test_a_proxy_with_a_network_within_itself() -> None:
    """Clients are served, and no connection to a destination is ever seen: that side is absent, and why."""
    story = Story()
    story.look()
    assert list(story.account.known()) == ["client", "upstream"]
    for n in range(20):
        story.end(client(n, info(sent=50, received=9), port=4000 + n))
    report = story.account.report()
    assert report is not None
    assert (list(story.account.known()), "wireproxy" in report.note) == (["client"], True)
    story.end(upstream(100, info(sent=5, dialled=True)))
    assert list(story.account.known()) == ["client", "upstream"]


# Our own probes


def test_our_probes_are_kept_apart_on_both_sides() -> None:
    """The connection to the proxy by its port; the one to the destination by its bytes and its time."""
    story = Story()
    story.look()
    probe = row((PROBE, PORT), (PROBE, OURS), cookie=1, info=info(sent=5000 + 12, received=200 + 30))
    others = [upstream(3, info(sent=90, received=4000, dialled=True), port=5001)]
    story.end(upstream(2, info(sent=200, received=5000, dialled=True)), *others, after=0.2, probing=True)
    assert story.upstream.opened == 0, "nobody knows yet whose they are"
    story.end(probe, after=0.1)
    story.end(after=5)
    assert (story.client.opened, story.upstream.opened, story.upstream.received) == (0, 1, 4000)
    assert story.account.connections.probes.matched == 1
    ended = story.account.ended()
    assert ended is not None
    assert ended == (1, 5242), "the log has it too"


def test_another_connection_is_not_taken_for_a_probes() -> None:
    """One that moved two kilobytes more, either way, or nothing at all."""
    story = Story()
    story.look()
    story.end(
        upstream(2, info(sent=200, received=7000, dialled=True)),
        upstream(3, info(sent=2500, received=5000, dialled=True), port=5001),
        upstream(4, info(answered=False, dialled=True), port=5002),
        row((PROBE, PORT), (PROBE, OURS), cookie=1, info=info(sent=5012, received=230)),
        probing=True,
    )
    story.end(after=5)
    assert (story.upstream.opened, story.account.connections.probes.matched) == (3, 0)


def test_sockets_that_never_were_connections() -> None:
    """The proxy's listener, and sockets that were made and not used."""
    story = Story()
    story.look()
    nothing = info(answered=False, mtu=0)
    story.end(row((POD, PORT), cookie=1, info=nothing), row((POD, 5000), cookie=2, info=nothing))
    assert (story.client.opened, story.upstream.opened, story.account.connections.reported) == (0, 0, 0)


def test_others_connections_that_were_cleared() -> None:
    """Are nobody's, whether a look had found them or not."""
    story = Story()
    story.look()
    story.look(row((POD, 9090), (CLIENT, 4000), cookie=1, state=ESTABLISHED, inode=5, info=info(fin=False)))
    story.end(row((POD, 9090), cookie=1, info=zeroed()), row((POD, 9090), cookie=2, info=zeroed()))
    assert story.account.missed()["zeroed"] == 0


def test_a_probe_that_a_look_finds() -> None:
    """What it moves is not counted as it moves, as nobody knows yet whose it is; another's is, in the end."""
    story = Story()
    story.look()
    story.end(probing=True)
    mine = [info(sent=200, received=it, dialled=True, fin=False) for it in (10_000, 900_000)]
    theirs = [info(sent=300, received=it, dialled=True, fin=False) for it in (70_000, 80_000)]
    for one, other in zip(mine, theirs, strict=True):
        story.look(
            upstream(2, one, state=ESTABLISHED, inode=5),
            upstream(3, other, port=5001, state=ESTABLISHED, inode=6),
        )
        story.end(probing=True)
    assert (story.upstream.opened, story.upstream.received) == (0, 0)
    story.end(upstream(2, info(sent=200, received=1_000_000, dialled=True)), probing=True)
    story.end(row((PROBE, PORT), (PROBE, OURS), cookie=1, info=info(sent=1_000_012, received=230)))
    for _ in range(5):
        story.look(upstream(3, theirs[1], port=5001, state=ESTABLISHED, inode=6))
        story.end()
    assert (story.upstream.opened, story.upstream.received) == (1, 80_000)
    story.end(upstream(3, info(sent=300, received=80_001, dialled=True), port=5001), after=1)
    assert (story.upstream.closed["fin"], story.upstream.received) == (1, 80_001)


def test_one_probe_after_the_other() -> None:
    """They keep no connection back for longer than a moment after its end, nor a long one for ever."""
    story = Story()
    story.look()
    counters = info(sent=300, received=80_000, dialled=True, fin=False)
    story.end(probing=True)
    for second in range(70):
        story.look(upstream(1, counters, state=ESTABLISHED, inode=5))
        if second < 20:
            story.end(upstream(100 + second, info(sent=5, dialled=True), port=5100 + second), probing=True)
        else:
            story.end(probing=True)
    assert story.upstream.closed["fin"] == 20
    assert (story.upstream.opened, story.upstream.received) == (21, 80_000)


def test_a_flood_while_a_probe_runs() -> None:
    """No more than a bound is kept back; all count in the end."""
    story = Story()
    story.look()
    for n in range(3000):
        story.end(upstream(10 + n, info(sent=5, dialled=True), port=5000 + n), probing=True)
    assert story.upstream.opened >= 3000 - 512
    story.end(after=5)
    assert story.upstream.opened == 3000


# Invariants


@st.composite
def courses(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Looks and ends of a few connections, in any order."""
    return draw(
        st.lists(
            st.tuples(st.sampled_from(["look", "end", "gone"]), st.integers(0, 5), st.integers(0, 1000)),
            max_size=40,
        )
    )


@given(courses())
def test_bytes_count_once(course: list[tuple[str, int, int]]) -> None:
    """Whatever looks find and reports say: what was moved since the first look is counted once."""
    story = Story()
    story.look()
    moved: dict[int, int] = {}
    serial: dict[int, int] = {}
    total = ended = 0
    for what, n, more in course:
        cookie = 10 * serial.get(n, 0) + n
        moved[n] = moved.get(n, 0) + more
        total += more
        if what == "look":
            story.look(
                *(
                    client(
                        10 * serial.get(m, 0) + m, info(sent=sent, fin=False), port=4000 + m,
                        state=ESTABLISHED, inode=5,
                    )
                    for m, sent in moved.items()
                )
            )  # fmt: skip
        else:
            story.end(client(cookie, info(sent=moved.pop(n)), port=4000 + n))
            serial[n] = serial.get(n, 0) + 1
            ended += 1
    for n, sent in moved.items():
        story.end(client(10 * serial.get(n, 0) + n, info(sent=sent), port=4000 + n))
        ended += 1
    it = story.client
    assert (it.sent, it.opened, sum(it.closed.values())) == (total, ended, ended)
    assert story.account.missed() == dict.fromkeys(story.account.missed(), 0)


def test_what_cannot_be_parsed_is_counted() -> None:
    """A row, a report or a listener of another format ends nothing."""
    story = Story()
    story.account.listener(b"\0", 1.0)
    story.look(b"\x0b" * 100)
    story.end(b"\x0b" * 100)
    assert story.account.missed()["unparsed"] == 3


def test_a_dial_under_way_is_open() -> None:
    """From its SYN on."""
    story = Story()
    story.look()
    story.look(upstream(1, info(answered=False, dialled=True), state=SYN_SENT, inode=5))
    assert (story.upstream.opened, story.account.connections.open("upstream")) == (1, 1)
