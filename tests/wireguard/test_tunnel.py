"""The tunnel's state machine: recorded courses, every transition, and what must never raise an alarm."""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.wireguard.tunnel import TRANSITIONS, Evidence, Reading, Snapshot, State, Tunnel

_ROOT = Path(__file__).parents[2]
_RECORDED = _ROOT / "tests/fixtures/wireguard"
_EPOCH = 1_795_264_000.0


class Bench:
    """A tunnel whose readings come every five seconds, with a far end that is told what to do."""

    def __init__(
        self, *, keepalive: int = 0, handshake: bool = True, peers: bool = True, tells_ages: bool = False
    ) -> None:
        self.tunnel = Tunnel("wg0")
        self.at = 1000.0
        self.step = 5.0
        self.up = True
        self.index: int | None = 5
        self.sent = 0
        self.heard = 92 if handshake else 0
        self.handshake: int | None = int(_EPOCH) if handshake else 0
        self.keepalive = keepalive
        if not peers:
            self.handshake = None
        self.states: list[State] = []
        self.tells_ages = tells_ages
        self.wall = 0.0  # by how much the wall clock was stepped
        self.last = self._read()

    def _read(self) -> Snapshot:
        now = _EPOCH + self.at - 1000.0 + self.wall
        age = float(int(self._age())) if self.tells_ages and self.handshake else None
        handshake = round(now - age) if age is not None else self.handshake
        reading = Reading(
            self.at, now, self.up, self.index, self.sent, self.heard, handshake, self.keepalive, age=age
        )
        snapshot = self.tunnel.observe(reading)
        if not self.states or self.states[-1] is not snapshot.state:
            self.states.append(snapshot.state)
        return snapshot

    def run(self, seconds: float, *, sends: int = 0, hears: int = 0, rekeys: bool = False) -> Snapshot:
        """Pass some time; at each reading so many packets were sent, and so many bytes heard."""
        for _ in range(round(seconds / self.step)):
            self.at += self.step
            self.sent += sends
            self.heard += hears
            if rekeys and self.handshake is not None and self._age() >= 120:
                self.shake()
            self.last = self._read()
        return self.last

    def shake(self) -> None:
        """A handshake is made now."""
        self.handshake = int(_EPOCH + self.at - 1000.0)
        self.heard += 92

    def _age(self) -> float:
        return _EPOCH + self.at - 1000.0 - (self.handshake or 0)


def test_a_tunnel_that_is_never_answered_is_never_up() -> None:
    """Whatever is sent into it."""
    bench = Bench(handshake=False)
    bench.run(600, sends=3)
    assert bench.states == [State.NEVER]
    assert not bench.last.up
    assert "has not shaken hands" in bench.last.sentence


def test_the_first_handshake_makes_it_fresh() -> None:
    """At the next reading."""
    bench = Bench(handshake=False)
    bench.shake()
    assert bench.run(5).state is State.FRESH


def test_what_waits_for_the_first_handshake_is_told() -> None:
    """How many packets, as a count of nothing says that nobody tried."""
    bench = Bench(handshake=False)
    assert bench.run(10).sentence == "wg0 has not shaken hands with its peer"
    bench.run(10, sends=3)
    assert bench.last.sentence == "wg0 has not shaken hands with its peer; 6 packets wait for it"


def test_since_is_when_the_state_began() -> None:
    """It stands as long as the state does."""
    bench = Bench()
    began = bench.last.since
    assert began == _EPOCH
    assert bench.run(100).since == began
    bench.run(600)
    assert bench.last.state is State.IDLE
    idle = bench.last.since
    assert _EPOCH + 180 < idle <= _EPOCH + 190
    assert bench.run(50).since == idle


def test_idle_with_keepalive_raises_no_alarm_in_an_hour() -> None:
    """Nothing is heard between two handshakes, and that is no fault."""
    bench = Bench(keepalive=25)
    bench.run(3600, rekeys=True)
    assert bench.states == [State.FRESH]


def test_idle_without_keepalive_raises_no_alarm_in_an_hour() -> None:
    """The handshake grows old, and that is no fault."""
    bench = Bench()
    bench.run(3600)
    assert bench.states == [State.FRESH, State.IDLE]
    assert bench.last.up


def test_an_idle_tunnel_that_is_used_again_is_fresh() -> None:
    """It shakes hands first."""
    bench = Bench()
    bench.run(600)
    bench.shake()
    assert bench.run(5, sends=4, hears=500).state is State.FRESH


@pytest.mark.parametrize("keepalive", [0, 25])
def test_a_cut_while_clients_are_active_is_seen_in_26_seconds(keepalive: int) -> None:
    """Counted from the worst moment, just after a reading."""
    bench = Bench(keepalive=keepalive)
    bench.run(60, sends=10, hears=1000)
    bench.run(5, sends=10, hears=1)  # the cut comes early in this interval
    assert bench.run(15, sends=4).state is State.FRESH
    assert bench.run(5, sends=4).state is State.DEAD
    assert "16 packets sent, nothing heard" in bench.last.sentence


def test_a_cut_is_seen_in_time_also_when_readings_come_late() -> None:
    """Six seconds apart is the worst that the runner makes of five."""
    bench = Bench(keepalive=25)
    bench.run(60, sends=10, hears=1000)
    bench.step = 6.0
    bench.run(6, sends=10, hears=1)  # the cut comes early in this interval
    bench.run(18, sends=4)
    assert bench.last.state is State.DEAD


def test_a_dead_tunnel_stays_dead_when_the_clients_give_up() -> None:
    """Only hearing from the other end ends it."""
    bench = Bench()
    bench.run(30, sends=4)
    bench.run(3600)
    assert bench.states == [State.FRESH, State.DEAD]
    bench.shake()
    assert bench.run(5).state is State.FRESH


def test_an_answer_after_ten_seconds_is_an_answer() -> None:
    """One-way traffic is answered by WireGuard itself, ten seconds later at the latest."""
    bench = Bench(keepalive=0)
    for _ in range(60):
        bench.run(10, sends=3, rekeys=True)
        bench.run(5, sends=3, hears=32, rekeys=True)
    assert bench.states == [State.FRESH]


def test_a_late_answer_after_a_lost_one_is_an_answer() -> None:
    """Fifteen seconds: WireGuard asks for a new key, and that is answered."""
    bench = Bench()
    bench.step = 1.0
    bench.run(16, sends=1)
    bench.shake()
    bench.run(60)
    assert bench.states == [State.FRESH]


def test_a_key_that_is_needed_and_not_renewed_is_overdue_then_dead() -> None:
    """Nobody speaks but the keepalives, and they are not answered."""
    bench = Bench(keepalive=25)
    bench.run(215)
    assert bench.states == [State.FRESH]
    assert bench.run(5).state is State.REKEY_OVERDUE
    assert not bench.last.up
    bench.run(85)
    assert bench.states == [State.FRESH, State.REKEY_OVERDUE]
    assert bench.run(5).state is State.DEAD


def test_an_expired_key_that_is_asked_for_in_vain_is_overdue_then_dead() -> None:
    """Without keepalive, when somebody begins to speak."""
    bench = Bench()
    bench.run(600)
    bench.run(30, sends=3)
    assert bench.states == [State.FRESH, State.IDLE, State.REKEY_OVERDUE, State.DEAD]


def test_one_stray_packet_is_no_proof() -> None:
    """One an hour, for a day, that nobody answers."""
    bench = Bench()
    for _ in range(24):
        bench.run(5, sends=1)
        bench.run(3595)
    assert bench.states == [State.FRESH, State.IDLE]


def test_a_device_that_goes_is_absent_and_one_that_comes_starts_anew() -> None:
    """With another index, counters at 0 and no handshake."""
    bench = Bench()
    bench.up = False
    assert bench.run(5).state is State.ABSENT
    bench.up, bench.index, bench.handshake, bench.heard, bench.sent = True, 6, 0, 0, 0
    assert bench.run(5).state is State.NEVER
    bench.shake()
    assert bench.run(5).state is State.FRESH


def test_a_device_that_was_down_for_a_while_keeps_the_age_of_its_key() -> None:
    """It was not made anew."""
    bench = Bench()
    bench.run(100)
    bench.up = False
    bench.run(100)
    bench.up = True
    assert bench.run(5).state is State.IDLE


def test_a_device_made_anew_between_two_readings_is_told_by_its_index() -> None:
    """What the old one left unanswered is not held against it."""
    bench = Bench()
    bench.run(15, sends=10)
    bench.index, bench.handshake, bench.heard, bench.sent = 6, 0, 0, 500
    assert bench.run(5).state is State.NEVER
    bench.shake()
    bench.run(10)
    assert bench.states == [State.FRESH, State.NEVER, State.FRESH]


def test_a_device_made_anew_within_the_same_second_has_a_new_handshake() -> None:
    """Handshakes are told in whole seconds; its index tells that it is another."""
    bench = Bench()
    bench.run(600)
    assert bench.last.state is State.IDLE
    bench.index, bench.heard, bench.sent = 6, 92, 0
    assert bench.run(5).state is State.FRESH


def test_an_index_that_cannot_be_read_for_once_is_no_event() -> None:
    """Nothing is concluded from it."""
    bench = Bench()
    bench.run(600)
    bench.index = None
    bench.run(5)
    bench.index = 5
    bench.run(5)
    assert bench.states == [State.FRESH, State.IDLE]


def test_a_step_of_the_wall_clock_is_no_event() -> None:
    """Neither an hour forward nor an hour back."""
    for step in (3600.0, -3600.0):
        tunnel = Tunnel("wg0")
        states = set()
        for second in range(0, 100, 5):
            now = _EPOCH + second + (step if second > 50 else 0)
            reading = Reading(second, now, index=5, heard=92, handshake=int(_EPOCH), keepalive=25)
            states.add(tunnel.observe(reading).state)
        assert states == {State.FRESH}


def test_a_clock_that_was_ahead_at_the_start_and_is_set_right_buries_no_live_tunnel() -> None:
    """The key looked an hour old; as soon as the clock is right, what is heard counts again."""
    tunnel = Tunnel("wg0")
    states = []
    for second in range(0, 60, 5):
        now = _EPOCH + 20 + second + (3600 if second < 30 else 0)
        heard = 92 + 32 * (second // 25)  # its keepalives
        reading = Reading(second, now, index=5, heard=heard, handshake=int(_EPOCH), keepalive=25)
        states.append(tunnel.observe(reading).state)
    assert states[0] is State.DEAD
    assert states[-1] is State.FRESH


def test_a_new_key_is_no_older_than_the_last_reading_whatever_the_clock_says() -> None:
    """The clock stepped an hour forward just after the handshake: still 180 s of life."""
    tunnel = Tunnel("wg0")
    for second in range(1000, 1200, 5):
        tunnel.observe(Reading(second, _EPOCH + second, index=5, heard=92, handshake=int(_EPOCH) + 1000))
    ahead = _EPOCH + 3600
    tunnel.observe(Reading(1200, ahead + 1200, index=5, heard=184, handshake=int(_EPOCH) + 1199))
    after = [
        tunnel.observe(Reading(second, ahead + second, index=5, heard=184, handshake=int(_EPOCH) + 1199))
        for second in (1205, 1370, 1380)
    ]
    assert [snapshot.state for snapshot in after] == [State.FRESH, State.FRESH, State.IDLE]
    assert "last handshake 10 s ago" in after[0].sentence


def test_a_clock_that_is_set_back_does_not_bring_a_new_key_to_life() -> None:
    """The age of a key that was seen new is known without the wall clock."""
    tunnel = Tunnel("wg0")
    first = Reading(0, _EPOCH, index=5, heard=92, handshake=int(_EPOCH) - 100, keepalive=25)
    tunnel.observe(first)
    for second in range(5, 400, 5):
        now = _EPOCH + second - (300 if second > 310 else 0)
        heard = 184 + second
        tunnel.observe(Reading(second, now, index=5, heard=heard, handshake=int(_EPOCH) + 5, keepalive=25))
    assert tunnel.state is State.DEAD


def test_after_a_gap_without_readings_nothing_is_concluded_at_once() -> None:
    """What was sent in a gap of a minute may have been sent just now."""
    bench = Bench()
    bench.run(10)
    bench.step = 60.0
    assert bench.run(60, sends=10).state is State.FRESH
    bench.step = 5.0
    assert bench.run(15, sends=10).state is State.DEAD


def test_the_device_alone_says_less_and_says_so() -> None:
    """Fresh while it receives, idle while it does not, dead after a minute of sending in vain."""
    bench = Bench(peers=False)
    assert bench.last.confidence == "device"
    assert "device alone" in bench.last.sentence
    bench.run(60, sends=5, hears=5000)
    bench.run(600)
    bench.run(65, sends=5)
    assert bench.states == [State.IDLE, State.FRESH, State.IDLE, State.DEAD]


def test_a_device_made_anew_whose_index_is_not_known_is_told_by_its_counters() -> None:
    """They start at 0 again; what the old one left unanswered is not held against it."""
    bench = Bench(peers=False)
    bench.index = None
    bench.run(10, sends=5, hears=5000)
    bench.run(50, sends=1)
    bench.heard, bench.sent = 0, 0
    assert bench.run(50, sends=10).state is State.IDLE
    assert bench.run(20, sends=10).state is State.DEAD


def test_peers_that_become_readable_are_believed_at_once() -> None:
    """The sources may change while the tunnel does not."""
    bench = Bench(peers=False)
    bench.run(600)
    bench.handshake, bench.heard = int(_EPOCH + bench.at - 1000 - 10), 40
    assert bench.run(5).state is State.IDLE or bench.last.up
    assert bench.last.confidence == "peers"


def test_a_device_without_peers_says_so() -> None:
    """It is up and leads nowhere."""
    snapshot = Tunnel("wg0").observe(Reading(0, _EPOCH, handshake=0, peers=0))
    assert (snapshot.state, snapshot.sentence) == (State.NEVER, "wg0 has no peer")


# Recorded courses


def test_the_recorded_cut_is_seen_in_thirty_seconds_also_with_rare_readings() -> None:
    """Readings were ten seconds apart; the way was cut at 20 s and fixed at 290 s."""
    changes = list(_replay(Tunnel("wg0"), "cutrun.jsonl", lambda row: row, keepalive=0))
    assert changes == [(0, "fresh"), (50, "dead"), (290, "fresh")]


@pytest.mark.parametrize(
    ("peer", "keepalive", "expected"),
    [
        ("b", 5, [(0, "fresh")]),
        ("c", 0, [(0, "fresh"), (130, "idle")]),
        ("d", 25, [(0, "fresh"), (110, "rekey_overdue"), (200, "dead"), (340, "fresh")]),
    ],
)
def test_the_recorded_long_run(peer: str, keepalive: int, expected: list[tuple[int, str]]) -> None:
    """Idle with keepalive, idle without, and a wire that was down from 0 to 330 s, with pings from 195 s."""
    # The 48 bytes at 10 s and 150 s are router solicitations; only the pings of 84 went to `d`.
    pings = {"b": 0, "c": 0, "d": 84}[peer]

    def flatten(row: Any) -> Any:
        sent = max(0, row["if_tx"] - 1176) if pings else 0
        return row[peer] | {"t": row["t"], "if_tx": sent * 60 / 84}

    assert list(_replay(Tunnel("wg0"), "longrun.jsonl", flatten, keepalive)) == expected


def _replay(tunnel: Tunnel, name: str, flatten: Any, keepalive: int) -> Iterator[tuple[int, str]]:
    """Every change of state, with its second; packets are reckoned at 60 bytes, a SYN's."""
    before = None
    handshake = 0
    for line in (_RECORDED / name).read_text().splitlines():
        row = flatten(json.loads(line))
        now = _EPOCH + row["t"]
        if abs(now - row["hs_age"] - handshake) > 5:  # ages were recorded a little late
            handshake = int(now - row["hs_age"])
        reading = Reading(
            row["t"],
            now,
            index=5,
            sent=int(row["if_tx"] // 60),
            heard=row["rx"],
            handshake=handshake,
            keepalive=keepalive,
        )
        state = tunnel.observe(reading).state
        if state is not before:
            yield row["t"], state.value
        before = state


# The machine itself


def test_the_table_is_complete() -> None:
    """Every state knows what to do with every kind of evidence."""
    assert set(TRANSITIONS) == set(State)
    assert all(set(row) == set(Evidence) for row in TRANSITIONS.values())


def test_only_hearing_ends_a_fault() -> None:
    """Of a device that is there and had a handshake."""
    deciding = {Evidence.NO_DEVICE, Evidence.NO_HANDSHAKE, Evidence.HEARD}
    for state in (State.REKEY_OVERDUE, State.DEAD):
        for evidence in set(Evidence) - deciding:
            assert TRANSITIONS[state][evidence] in (State.REKEY_OVERDUE, State.DEAD)


_readings = st.builds(
    Reading,
    at=st.floats(0, 1e6),
    now=st.floats(0, 4e9),
    up=st.booleans(),
    index=st.none() | st.integers(1, 9),
    sent=st.integers(0, 1 << 64),
    heard=st.integers(0, 1 << 64),
    handshake=st.none() | st.just(0) | st.integers(1, 1 << 32),
    keepalive=st.sampled_from([0, 5, 25, 65535]),
    peers=st.integers(0, 3),
)


@given(st.lists(_readings, max_size=30))
def test_any_readings_in_order_make_a_state_and_a_sentence(readings: list[Reading]) -> None:
    """Also nonsense; without a device it is absent, without a handshake never."""
    tunnel = Tunnel("wg0")
    for reading in sorted(readings, key=lambda reading: reading.at):
        snapshot = tunnel.observe(reading)
        assert snapshot.sentence.startswith("wg0 ")
        assert (snapshot.state is State.ABSENT) == (not reading.up)
        assert not (reading.up and reading.handshake == 0) or snapshot.state is State.NEVER


def test_the_picture_in_the_documentation_is_drawn_from_the_table() -> None:
    """`scripts/draw_tunnel.py` redraws it."""
    draw = runpy.run_path(str(_ROOT / "scripts/draw_tunnel.py"))
    page = (_ROOT / "docs/tunnel.md").read_text()
    assert draw["redrawn"](page) == page


@pytest.mark.parametrize("keepalive", [0, 25])
def test_ages_instead_of_times_give_the_same_states(keepalive: int) -> None:
    """Fresh and idle as with times; cut under traffic, dead as soon; also when the wall clock is stepped."""
    for tells_ages in (False, True):
        bench = Bench(keepalive=keepalive, tells_ages=tells_ages)
        bench.run(300, rekeys=True, sends=2, hears=1000)
        assert bench.states == [State.FRESH]
        bench.wall += 3600
        bench.run(20, sends=2, hears=1000)
        bench.run(30, sends=2)
        assert bench.states == [State.FRESH, State.DEAD]
        bench.run(600, sends=2)
        assert bench.last.state is State.DEAD
        bench.shake()
        assert bench.run(5).state is State.FRESH


def test_an_idle_tunnel_that_tells_ages_grows_old() -> None:
    """Its key expires, and that is no fault."""
    bench = Bench(tells_ages=True)
    assert bench.run(600).state is State.IDLE
    assert "last handshake 600 s ago" in bench.last.sentence
