"""A count that never falls."""

from hypothesis import given
from hypothesis import strategies as st

from proxywatch.metrics.odometer import Odometer


def _total(*readings: int | tuple[int, int] | None) -> int:
    odometer = Odometer()
    for reading in readings:
        if reading is None:
            odometer.absent()
        elif isinstance(reading, tuple):
            odometer.read(*reading)
        else:
            odometer.read(reading)
    return odometer.total


def test_it_counts_from_the_first_reading() -> None:
    """What was before is not ours."""
    assert _total(1000, 1010, 1030) == 30


def test_it_counts_on_when_the_counter_starts_again() -> None:
    """All that the new one shows is new."""
    assert _total(1000, 1010, 7) == 17


def test_a_new_owner_starts_again_whatever_it_shows() -> None:
    """Also when its counter has overtaken the old one's."""
    assert _total((1000, 5), (1010, 5), (2000, 6)) == 2010


def test_an_owner_that_was_away_goes_on() -> None:
    """The same device, moved out and back."""
    assert _total((1000, 5), None, (1010, 5)) == 10


def test_what_appears_after_we_looked_in_vain_counts_in_full() -> None:
    """It all happened under our eyes."""
    assert _total(None, None, (500, 6), (510, 6)) == 510


def test_without_owners_falling_numbers_must_do() -> None:
    """A counter that only grew is taken as the same one."""
    assert _total(1000, 5000, 4999) == 4000 + 4999


@given(st.lists(st.none() | st.tuples(st.integers(0, 1 << 64), st.none() | st.integers(1, 3))))
def test_it_never_falls(readings: list[tuple[int, int | None] | None]) -> None:
    """Over anything."""
    odometer = Odometer()
    before = 0
    for reading in readings:
        if reading is None:
            odometer.absent()
        else:
            odometer.read(*reading)
        assert odometer.total >= before
        before = odometer.total
