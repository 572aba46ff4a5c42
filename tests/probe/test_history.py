"""The memory of probes: bounded, newest first, failures kept longer."""

from proxywatch.probe.history import History
from proxywatch.probe.outcome import Phases, Transfer


def _transfer(number: int, reason: str | None = None) -> Transfer:
    stage = "socks" if reason else None
    return Transfer(str(number), "latency", "http://a/", number, 0.1, Phases(), stage=stage, reason=reason)


def test_the_newest_come_first_and_the_oldest_go() -> None:
    """As many as there is room for."""
    history = History(probes=3)
    for number in range(5):
        history.record(_transfer(number))
    assert [probe.id for probe in history.snapshot().probes] == ["4", "3", "2"]


def test_failures_outlive_the_successes_around_them() -> None:
    """A failure of last night is still there in the morning."""
    history = History(probes=3, failures=2)
    for number in range(10):
        history.record(_transfer(number, "timeout" if number in {1, 2, 3} else None))
    assert [probe.id for probe in history.snapshot().failures] == ["3", "2"]
    assert all(probe.ok for probe in history.snapshot().probes)


def test_a_snapshot_stays_as_it_is() -> None:
    """Whatever is recorded later."""
    history = History()
    snapshot = history.snapshot()
    history.record(_transfer(1))
    assert snapshot.probes == ()
