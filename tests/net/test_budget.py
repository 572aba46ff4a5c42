"""The bytes that clients hold: the costliest goes, and what was read meanwhile does not count."""

import random

from proxywatch.net.budget import Budget


class Client:
    """A client that holds so much."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.holds = 0
        self.dropped = False

    def hold(self, size: int) -> None:
        self.holds = size
        self.budget.charge(self, size)

    def remeasure(self) -> int:
        return self.holds

    def drop(self) -> None:
        self.dropped = True
        self.budget.release(self)


def test_the_costliest_goes() -> None:
    """Of equal ones, the one that has cost so much for longest."""
    budget = Budget(1000)
    first, second, small = Client(budget), Client(budget), Client(budget)
    first.hold(400)
    second.hold(410)
    small.hold(100)
    assert budget.held == 910
    small.hold(200)
    assert (first.dropped, second.dropped, small.dropped) == (True, False, False)
    assert (budget.held, len(budget)) == (610, 2)


def test_what_was_read_meanwhile_does_not_count() -> None:
    """A charge is an upper bound; before anybody goes it is measured again."""
    budget = Budget(1000)
    reader, hoarder = Client(budget), Client(budget)
    reader.hold(700)
    reader.holds = 10
    hoarder.hold(600)
    assert not reader.dropped
    assert not hoarder.dropped
    assert budget.held == 610


def test_one_that_is_too_large_alone_goes_itself() -> None:
    """And the sum is right whatever happens."""
    budget = Budget(1000)
    clients = [Client(budget) for _ in range(20)]
    dice = random.Random(1)
    for _ in range(2000):
        client = dice.choice(clients)
        if not client.dropped:
            client.hold(dice.choice((0, 1, 50, 300, 1001)))
        else:
            client.dropped = False
        assert budget.held == sum(each.holds for each in clients if each in budget._charges) <= 1000
