"""Turns of the loop: whoever has work waits in line once a turn is full."""

from collections.abc import Callable

from proxywatch.net import turns
from proxywatch.net.turns import Turns


class Loop:
    """A loop that turns when asked to, and a clock."""

    def __init__(self) -> None:
        self.time = 0.0
        self.soon: list[Callable[[], None]] = []
        self.turns = Turns(lambda: self.time, self.soon.append)

    def turn(self) -> None:
        due, self.soon[:] = list(self.soon), []
        for each in due:
            each()


class Worker:
    """So many steps to make, each of which takes so long."""

    def __init__(self, loop: Loop, steps: int, seconds: float = 0.0, size: int = 0) -> None:
        self.loop, self.steps, self.seconds, self.size = loop, steps, seconds, size

    def work(self) -> None:
        while self.steps:
            self.steps -= 1
            self.loop.time += self.seconds
            self.loop.turns.wrote(self.size)
            if not self.loop.turns.step():
                if self.steps:
                    self.loop.turns.wait(self)
                return


def test_time_ends_a_turn() -> None:
    """The step that is under way is finished; the rest waits, and so do those who come later."""
    loop = Loop()
    slow, other = Worker(loop, 3, seconds=1), Worker(loop, 1)
    assert loop.turns.offer(slow)
    assert slow.steps == 2
    assert not loop.turns.offer(other)
    loop.turn()
    assert (slow.steps, other.steps) == (1, 1)  # a step of a second fills this turn too
    loop.turn()
    assert (slow.steps, other.steps) == (0, 0)
    loop.turn()
    assert loop.soon == []


def test_steps_and_bytes_end_a_turn() -> None:
    """Also when the clock stands still."""
    loop = Loop()
    busy, large = Worker(loop, 10_000), Worker(loop, 10, size=1 << 20)
    loop.turns.offer(busy)
    assert 10_000 - busy.steps <= turns._STEPS
    loop = Loop()
    large.loop = loop
    loop.turns.offer(large)
    assert large.steps == 8


def test_a_new_turn_has_room() -> None:
    """After the loop has turned."""
    loop = Loop()
    loop.turns.offer(Worker(loop, 1, seconds=1))
    loop.turn()
    assert loop.turns.offer(Worker(loop, 1))
