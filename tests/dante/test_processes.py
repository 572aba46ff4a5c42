"""Who belongs to which Dante, by parents alone."""

from hypothesis import given
from hypothesis import strategies as st

from proxywatch.dante import processes


def test_servers_their_further_mothers_and_orphans() -> None:
    """Two servers, one of them with two mothers, and a child that nobody is left of."""
    parents = {10: 1, 11: 10, 12: 10, 13: 12, 20: 5, 21: 20, 30: 1}
    families = processes.sort(parents)
    assert families.servers == {10: {11, 12, 13}, 20: {21}}
    assert families.orphans == {30}


@given(st.dictionaries(st.integers(1, 30), st.integers(1, 30)))
def test_every_process_has_one_place(parents: dict[int, int]) -> None:
    """Each stands in one family, or among the orphans, but for those in a circle, which no kernel makes."""
    parents = {pid: parent for pid, parent in parents.items() if parent < pid}
    families = processes.sort(parents)
    placed = [*families.orphans, *families.servers]
    placed += [pid for children in families.servers.values() for pid in children]
    assert sorted(placed) == sorted(parents)
