"""Open files: the limit is raised, and each port has its share."""

import resource

import pytest

from proxywatch.net import files


@pytest.mark.parametrize(
    ("limit", "http", "health"),
    [
        (1_048_576, 12_000, 4096),
        (20_000, 12_000, 4096),
        (1024, 693, 231),
        (256, 117, 39),
        (64, 24, 8),
        (1, 1, 1),
    ],
)
def test_shares(limit: int, http: int, health: int) -> None:
    """As many as the settings allow where there is room; else a quarter for health."""
    assert files.share(limit, 12_000, 4096) == (http, health)


def test_no_more_than_the_settings_allow() -> None:
    """And who wants little leaves the rest to the other."""
    assert files.share(1024, 10, 4096) == (10, 914)
    assert files.share(1024, 12_000, 10) == (914, 10)


def test_raises_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the hard one; where the kernel refuses, the soft one stays."""
    limits = [100, 5000]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.__setitem__(0, pair[0]))
    assert files.raise_limit() == 5000
    assert limits == [5000, 5000]

    def refuse(_: int, __: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    limits[0] = 100
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert files.raise_limit() == 100
