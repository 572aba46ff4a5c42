"""The sum of all titles."""

from proxywatch.dante.slots import UNKNOWN, Tally
from proxywatch.dante.title import Title


def test_slots_add_up() -> None:
    """Used and free by kind; an orphan's free ones are lost."""
    tally = Tally()
    for title in (Title("monitor"), Title("io", 32, 32), Title("io", 8, 32), Title("request", 1, 1)):
        tally.child(title)
    tally.orphan(Title("io", 5, 32))
    assert tally.slots("io") == 45
    assert tally.slots("io", "request") == 46
    assert tally.free["io"] == 24
    assert (tally.processes["io"], tally.orphans) == (2, 1)


def test_a_cut_title_makes_its_kind_unknown_and_no_other() -> None:
    """Half a sum is none."""
    tally = Tally()
    tally.child(Title("negotiate"))
    tally.child(Title("io", 1, 32))
    assert tally.slots("negotiate") is None
    assert tally.slots("io") == 1


def test_a_child_of_unknown_kind_may_be_of_any() -> None:
    """Then no sum is known."""
    tally = Tally()
    tally.child(Title("io", 1, 32))
    tally.child(None)
    assert tally.slots("io") is None
    assert tally.processes[UNKNOWN] == 1
