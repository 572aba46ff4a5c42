"""Is the tunnel alive? A state machine over readings of a WireGuard device.

WireGuard is silent when nobody speaks, so neither an old handshake nor standing counters prove a fault. But
whoever receives data answers it: with data, or with an empty packet after 10 s at the latest; and who sent
data and heard nothing for 15 s asks for a new key, every 5 s, for 90 s. A key serves for 180 s. So:

- Data that we send, and nothing at all heard from the other end for longer than those 15 s: dead.
- An old key is a fault only where somebody needs it: data was sent, or keepalives are configured. These renew
  the key when it is 120 s old, at the latest 180 s and one keepalive after it was made.

What was sent is counted in packets that the device took from the system, less the IPv6 multicast that the
kernel sends of itself and nobody answers. Keepalives and handshakes are no such packets; nothing that cannot
leave the machine gets lost from this count. What was heard is counted in bytes from the peers, everything
included. Ages are kept on the monotonic clock, so a step of the wall clock is no event. Only of a key that
was made before the first reading the age is the wall clock's word: there the younger of both ages is taken,
so that a clock that was an hour ahead at the start and is set right does not bury a live tunnel.

Several peers are taken as one tunnel: it is heard when any of them is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, assert_never

KEY_LIFE = 180.0
"""Seconds that a key serves (WireGuard's REJECT_AFTER_TIME)."""
SILENCE = 16.5
"""Seconds after which data without any answer is a fault: the 15 of WireGuard itself, and a margin."""
DEVICE_SILENCE = 60.0
"""The same where only the device can be read, which does not show WireGuard's own packets."""
_RETRY = 10.0  # two tries at a handshake
_GIVES_UP = 90.0  # REKEY_ATTEMPT_TIME
_SURE, _DEVICE_SURE = 3, 10  # packets without an answer; fewer may be a stray
_FORGIVEN = 60.0
_LONGEST_GAP = 5.0  # between readings, for telling when something happened
_AGE_MARGIN = 1.5  # ages are told in seconds; no two handshakes are made within five


class State(StrEnum):
    """What the tunnel is."""

    ABSENT = "absent"
    NEVER = "never"
    FRESH = "fresh"
    IDLE = "idle"
    REKEY_OVERDUE = "rekey_overdue"
    DEAD = "dead"


class Evidence(StrEnum):
    """What one reading, with those before it, says; the value is for people."""

    NO_DEVICE = "no device, or it is down"
    NO_HANDSHAKE = "no handshake since the device was made"
    HEARD = "heard from the other end"
    QUIET = "nothing to hear, key in its life"
    EXPIRED = "key expired, nobody needs it"
    UNRENEWED = "key expired, needed, not renewed"
    UNANSWERED = "data sent, nothing heard"


def _row(quiet: State, expired: State, unrenewed: State) -> Mapping[Evidence, State]:
    """Three kinds of evidence weigh by where we are; the other four decide wherever we are."""
    return {
        Evidence.NO_DEVICE: State.ABSENT,
        Evidence.NO_HANDSHAKE: State.NEVER,
        Evidence.HEARD: State.FRESH,
        Evidence.QUIET: quiet,
        Evidence.EXPIRED: expired,
        Evidence.UNRENEWED: unrenewed,
        Evidence.UNANSWERED: State.DEAD,
    }


TRANSITIONS: Mapping[State, Mapping[Evidence, State]] = {
    #                         quiet                expired              unrenewed
    State.ABSENT: _row(State.FRESH, State.IDLE, State.REKEY_OVERDUE),
    State.NEVER: _row(State.FRESH, State.IDLE, State.REKEY_OVERDUE),
    State.FRESH: _row(State.FRESH, State.IDLE, State.REKEY_OVERDUE),
    State.IDLE: _row(State.IDLE, State.IDLE, State.REKEY_OVERDUE),
    State.REKEY_OVERDUE: _row(State.REKEY_OVERDUE, State.REKEY_OVERDUE, State.REKEY_OVERDUE),
    State.DEAD: _row(State.DEAD, State.DEAD, State.DEAD),
}
"""The whole machine; it starts in `absent`. Once in fault, only hearing from the other end ends the fault."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The device at one moment.

    Attributes:
        at: Monotonic clock, in seconds.
        now: Unix time, in seconds.
        up: The device is there and was brought up.
        index: Its index, which a device that is made anew does not keep; None when it cannot be told.
        sent: Packets that it took to be sent, without IPv6 multicast of the kernel.
        heard: Bytes from the peers, or, where they cannot be read, from the device.
        handshake: Unix time of the last handshake, 0 for never; None where the peers cannot be read.
        keepalive: Seconds between keepalives; 0 for none.
        peers: How many there are.
        age: Seconds since the last handshake, from an implementation that tells no time of it.
    """

    at: float
    now: float
    up: bool = True
    index: int | None = None
    sent: int = 0
    heard: int = 0
    handshake: int | None = None
    keepalive: int = 0
    peers: int = 1
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tunnel as of the last reading.

    Attributes:
        state: What it is.
        since: Unix time at which it became so.
        sentence: Why, for people.
        confidence: `peers`, by what WireGuard tells; `device`, by the device's counters alone.
    """

    state: State
    since: float
    sentence: str
    confidence: Literal["peers", "device"]

    @property
    def up(self) -> bool:
        """Whether it can be used, as far as anybody can tell."""
        return self.state in (State.FRESH, State.IDLE)


@dataclass(slots=True)
class _Unanswered:
    """What was sent since we last heard anything.

    Attributes:
        since: Monotonic time before which nothing of it was sent.
        before: The count of sent packets then.
    """

    since: float
    before: int


class Tunnel:
    """The machine with what it remembers of one device."""

    def __init__(self, name: str) -> None:
        """Start without knowing anything.

        Args:
            name: The device's, for sentences.
        """
        self.state = State.ABSENT
        self._name = name
        self._since: float | None = None
        self._previous: Reading | None = None  # the last one with a device
        self._last_at = 0.0
        self._key_at = 0.0
        self._key_is_older = True  # than the first reading of it
        self._heard_at: float | None = None
        self._unanswered: _Unanswered | None = None

    def observe(self, reading: Reading) -> Snapshot:
        """Take a reading, and say what the tunnel is now."""
        evidence = self._weigh(reading)
        after = TRANSITIONS[self.state][evidence]
        if after is not self.state or self._since is None:
            self._since = reading.now
        self.state = after
        self._last_at = reading.at
        if reading.up:
            self._previous = reading
        alone = reading.up and reading.handshake is None
        words = f"{self._name} {self._words(reading)}{_ALONE if alone else ''}"
        return Snapshot(after, self._since, words, "device" if alone else "peers")

    def _weigh(self, reading: Reading) -> Evidence:
        previous = self._previous
        if previous is not None and reading.up and _is_other(previous, reading):
            previous = None
        if previous is None or not reading.up:
            self._unanswered = None
            self._heard_at = None
        if not reading.up:
            return Evidence.NO_DEVICE
        if reading.handshake == 0:
            self._note_sent(previous, reading)
            return Evidence.NO_HANDSHAKE
        if self._hears(previous, reading):
            self._heard_at = reading.at
            self._unanswered = None
            return Evidence.HEARD
        self._note_sent(previous, reading)
        return self._by_device(reading) if reading.handshake is None else self._by_key(reading)

    def _hears(self, previous: Reading | None, reading: Reading) -> bool:
        """A new handshake, or bytes of a key that is still good.

        The age of a key is told by the wall clock, but a key that is new is no older than the last reading.
        """
        last = self._previous
        known = last is not None and last.handshake is not None
        same = last is not None and self._is_same_key(last, reading) and not _made_anew(last, reading)
        if reading.handshake and not same:
            age = max(0.0, reading.now - reading.handshake) if reading.age is None else reading.age
            self._key_at = reading.at - (min(age, reading.at - self._last_at) if known else age)
            self._key_is_older = not known
            if known:
                return True
        if previous is None or reading.heard <= previous.heard:
            return False
        return reading.handshake is None or self._key_age(reading) <= _limit(reading)

    def _is_same_key(self, last: Reading, reading: Reading) -> bool:
        """Whether the last handshake is the one that was known; an age is compared on the monotonic clock."""
        if reading.age is None or last.age is None:
            return last.handshake == reading.handshake
        return reading.at - reading.age <= self._key_at + _AGE_MARGIN

    def _note_sent(self, previous: Reading | None, reading: Reading) -> None:
        if previous is None:
            return
        pending = self._unanswered
        if pending is None and reading.sent > previous.sent:
            since = max(previous.at, reading.at - _LONGEST_GAP)
            self._unanswered = _Unanswered(since, previous.sent)
        elif pending and reading.at - pending.since > _FORGIVEN and reading.sent - pending.before < _SURE:
            self._unanswered = None

    def _by_key(self, reading: Reading) -> Evidence:
        overdue = self._key_age(reading) - _limit(reading)
        silence = self._silence(reading, _SURE)
        if silence >= SILENCE or (reading.keepalive and overdue > _GIVES_UP):
            return Evidence.UNANSWERED
        if overdue <= 0:
            return Evidence.QUIET
        return Evidence.UNRENEWED if reading.keepalive or silence >= _RETRY else Evidence.EXPIRED

    def _by_device(self, reading: Reading) -> Evidence:
        if self._silence(reading, _DEVICE_SURE) >= DEVICE_SILENCE:
            return Evidence.UNANSWERED
        recently = self._heard_at is not None and reading.at - self._heard_at <= KEY_LIFE
        return Evidence.QUIET if recently else Evidence.EXPIRED

    def _silence(self, reading: Reading, sure: int) -> float:
        """Seconds that at least so many packets have gone without anything heard; 0 when there are not."""
        pending = self._unanswered
        if pending is None or reading.sent - pending.before < sure:
            return 0.0
        return reading.at - pending.since

    def _key_age(self, reading: Reading) -> float:
        age = reading.at - self._key_at
        if reading.age is not None:
            return age
        by_wall = reading.now - (reading.handshake or 0)
        return min(age, by_wall) if self._key_is_older and by_wall >= 0 else age

    def _words(self, reading: Reading) -> str:
        pending = self._unanswered
        sent = reading.sent - pending.before if pending else 0
        age = f"last handshake {self._key_age(reading):.0f} s ago"
        match self.state:
            case State.ABSENT:
                words = "is not there" if reading.index is None else "is there, but was not brought up"
            case State.NEVER if reading.peers == 0:
                words = "has no peer"
            case State.NEVER:
                words = "has not shaken hands with its peer" + (
                    f"; {sent} packets wait for it" if sent else ""
                )
            case State.FRESH | State.IDLE if reading.handshake is None:
                words = "is up and receives" if self.state is State.FRESH else "is up"
            case State.FRESH:
                words = f"works: {age}"
            case State.IDLE:
                words = f"is idle: {age}, nothing to send since, which is usual without keepalive"
            case State.REKEY_OVERDUE:
                words = f"needs a new key and gets no answer: {age}"
            case State.DEAD:
                words = f"is dead: {sent} packets sent, nothing heard" if sent else f"is dead: {age}"
            case _:
                assert_never(self.state)
        return words


_ALONE = " (judged by the device alone, as its peers cannot be read)"


def _is_other(previous: Reading, reading: Reading) -> bool:
    """Whether the counters of two readings are of different devices, or of different things."""
    return (
        _made_anew(previous, reading)
        or (previous.handshake is None) != (reading.handshake is None)
        or reading.heard < previous.heard
    )


def _made_anew(previous: Reading, reading: Reading) -> bool:
    return None not in (previous.index, reading.index) and previous.index != reading.index


def _limit(reading: Reading) -> float:
    """The age at which a key that is in use has been renewed, if all is well."""
    return KEY_LIFE + (reading.keepalive + _RETRY if reading.keepalive else 0.0)
