"""Which connections were our own."""

from proxywatch.source.own_traffic import OwnTraffic


def test_a_probes_endpoint_is_ours_while_it_lives() -> None:
    """From its opening on, and until a minute after its end: a proxy that hung accepts it late."""
    own = OwnTraffic()
    own.opened("127.0.0.1", 40001, at=100)
    assert own.includes("127.0.0.1", 40001, at=100)
    assert own.includes("127.0.0.1", 40001, at=5000)
    own.closed("127.0.0.1", 40001, at=110)
    assert own.includes("127.0.0.1", 40001, at=165)
    assert not own.includes("127.0.0.1", 40001, at=171)


def test_a_client_that_gets_the_port_later_is_a_client() -> None:
    """As is one from the same port of another address."""
    own = OwnTraffic()
    own.opened("127.0.0.1", 40001, at=100)
    own.closed("127.0.0.1", 40001, at=101)
    assert not own.includes("127.0.0.1", 40001, at=200)
    assert not own.includes("10.0.0.1", 40001, at=100)
    own.opened("127.0.0.1", 40001, at=300)
    assert own.includes("127.0.0.1", 40001, at=301)
    assert own.includes("127.0.0.1", 40001, at=100.5)


def test_memory_is_bounded() -> None:
    """The oldest are forgotten first."""
    own = OwnTraffic(capacity=10)
    for port in range(25):
        own.opened("127.0.0.1", 40000 + port % 12, at=port)
    assert sum(own.includes("127.0.0.1", 40000 + port, at=24) for port in range(12)) <= 12
    assert not own.includes("127.0.0.1", 40002, at=2)
    assert own.includes("127.0.0.1", 40000, at=24)


def test_a_clock_that_is_set_back_during_a_probe_makes_it_no_clients() -> None:
    """Its begin is in the log with the old time."""
    own = OwnTraffic()
    own.opened("127.0.0.1", 40000, at=5000)
    own.closed("127.0.0.1", 40000, at=1400.5)
    assert own.includes("127.0.0.1", 40000, at=5000.1)
