"""Which connections were our own."""

import os
from pathlib import Path

import pytest

from proxywatch.errors import SourceError
from proxywatch.probe.own_traffic import OwnTraffic


def test_a_probes_endpoint_is_ours_while_it_lives() -> None:
    """From its opening on, and until a minute after its end: a proxy that hung accepts it late."""
    own = OwnTraffic()
    own.opened("127.0.0.1", 40001, at=100)
    assert own.includes(b"127.0.0.1.40001", at=100)
    assert own.includes(b"127.0.0.1.40001", at=5000)
    own.closed("127.0.0.1", 40001, at=110)
    assert own.includes(b"127.0.0.1.40001", at=165)
    assert not own.includes(b"127.0.0.1.40001", at=171)


def test_a_client_that_gets_the_port_later_is_a_client() -> None:
    """As is one from the same port of another address."""
    own = OwnTraffic()
    own.opened("127.0.0.1", 40001, at=100)
    own.closed("127.0.0.1", 40001, at=101)
    assert not own.includes(b"127.0.0.1.40001", at=200)
    assert not own.includes(b"10.0.0.1.40001", at=100)
    own.opened("127.0.0.1", 40001, at=300)
    assert own.includes(b"127.0.0.1.40001", at=301)
    assert own.includes(b"127.0.0.1.40001", at=100.5)


def test_what_does_not_begin_like_ours_is_not_ours() -> None:
    """Nobody has to be looked up whose address was never ours; there are too many of ours before all are."""
    own = OwnTraffic(capacity=100)
    assert not b"10.0.0.1.40001".startswith(own.begins())
    own.opened("10.0.0.1", 40001, at=100)
    assert b"10.0.0.1.40001".startswith(own.begins())
    assert b"::ffff:10.0.0.1.40001".startswith(own.begins())
    assert not b"10.0.0.11.40001".startswith(own.begins())
    for last in range(1, 80):
        own.opened(f"fd00::{last}", 40001, at=100)
        assert (b"fd00::%d.40001" % last).startswith(own.begins())
    assert len(own.begins()) < 40


def test_memory_is_bounded() -> None:
    """The oldest are forgotten first."""
    own = OwnTraffic(capacity=10)
    for port in range(25):
        own.opened("127.0.0.1", 40000 + port % 12, at=port)
    assert sum(own.includes(b"127.0.0.1.%d" % (40000 + port), at=24) for port in range(12)) <= 12
    assert not own.includes(b"127.0.0.1.40002", at=2)
    assert own.includes(b"127.0.0.1.40000", at=24)


def test_a_clock_that_is_set_back_during_a_probe_makes_it_no_clients() -> None:
    """Its begin is in the log with the old time."""
    own = OwnTraffic()
    own.opened("127.0.0.1", 40000, at=5000)
    own.closed("127.0.0.1", 40000, at=1400.5)
    assert own.includes(b"127.0.0.1.40000", at=5000.1)


def test_a_proxy_that_listens_on_ipv6_writes_ipv4_as_mapped() -> None:
    """It is the same endpoint."""
    own = OwnTraffic()
    own.opened("127.0.0.1", 40001, at=100)
    own.opened("::1", 40002, at=100)
    assert own.includes(b"::ffff:127.0.0.1.40001", at=100)
    assert own.includes(b"::1.40002", at=100)
    assert not own.includes(b"no endpoint", at=100)


def test_what_a_killed_process_opened_is_known_to_the_next(tmp_path: Path) -> None:
    """With ends where they came; what was open when it was killed ended with it."""
    path = str(tmp_path / "checkpoint.own")
    before = OwnTraffic()
    before.opened("127.0.0.1", 40000, at=90)
    before.keep(path, now=95)
    before.opened("127.0.0.1", 40001, at=100)
    before.closed("127.0.0.1", 40001, at=101)
    before.opened("127.0.0.1", 40002, at=102)
    own = OwnTraffic()
    own.opened("127.0.0.1", 40003, at=109)  # a probe may be quicker than the reader of the log
    own.keep(path, now=110)
    assert own.includes(b"127.0.0.1.40000", at=90)
    assert own.includes(b"127.0.0.1.40001", at=100)
    assert not own.includes(b"127.0.0.1.40001", at=162)
    assert own.includes(b"127.0.0.1.40002", at=169)
    assert not own.includes(b"127.0.0.1.40002", at=171)
    assert own.includes(b"127.0.0.1.40003", at=5000)
    own.keep(path, now=120)  # the settings were read again: what is open stays open
    assert own.includes(b"127.0.0.1.40003", at=5000)
    assert sum(map(len, own._lives.values())) == 4


def test_the_file_of_our_own_traffic_does_not_grow_for_ever(tmp_path: Path) -> None:
    """It is written anew with what is still remembered."""
    path = tmp_path / "checkpoint.own"
    own = OwnTraffic(capacity=10)
    own.keep(str(path), now=0)
    for port in range(1000):
        own.opened("127.0.0.1", 20000 + port, at=port)
        own.closed("127.0.0.1", 20000 + port, at=port + 0.5)
    assert path.read_bytes().count(b"\n") <= 60
    again = OwnTraffic(capacity=10)
    again.keep(str(path), now=1000)
    assert again.includes(b"127.0.0.1.20999", at=999)
    assert not again.includes(b"127.0.0.1.20010", at=10)


def test_a_file_of_our_own_traffic_that_is_torn_or_cannot_be_written(tmp_path: Path) -> None:
    """What can be read of it is; a full disk disturbs no probe; what is no file is said."""
    path = tmp_path / "checkpoint.own"
    path.write_bytes(
        b"+ 127.0.0.1.40001 100.0\nrubbish\n+ x y\n- 127.0.0.1.40001 101.0\n+ 127.0.0.1.40002 10"
    )
    own = OwnTraffic()
    own.keep(str(path), now=110)
    assert own.includes(b"127.0.0.1.40001", at=100)
    assert not own.includes(b"127.0.0.1.40002", at=100)
    assert own._fd is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, own._fd)
    os.close(full)
    own.opened("127.0.0.1", 40003, at=111)
    assert own.includes(b"127.0.0.1.40003", at=111)
    with pytest.raises(SourceError):
        OwnTraffic().keep(str(tmp_path / "absent" / "checkpoint.own"), now=0)


def test_whether_a_probe_runs() -> None:
    """From its begin until a second after its end; whichever of several ends last."""
    own = OwnTraffic()
    assert not own.running(100.0)
    own.opened("127.0.0.1", 1, 100.0)
    own.opened("127.0.0.1", 2, 101.0)
    assert own.running(150.0)
    own.closed("127.0.0.1", 1, 151.0)
    assert own.running(170.0)
    own.closed("127.0.0.1", 2, 171.0)
    assert own.running(171.9)
    assert not own.running(172.1)
