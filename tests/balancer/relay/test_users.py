"""Users: what a login costs, what it allows, and what a file can do."""

import socket
import threading
import time
from pathlib import Path

import bcrypt
import pytest

from balancer.relay.standing import node, relay
from balancer.relay.test_socks import V4_REQUEST, echo
from proxywatch.balancer.relay import users as users_module
from proxywatch.balancer.relay.users import User, Users
from proxywatch.errors import ConfigError
from proxywatch.parse import user_file
from proxywatch.parse.user_file import Entry
from testbed.faulty_socks import Talk, faulty
from testbed.socks import dial, receive

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def login(port: int, user: str, password: str = "secret") -> tuple[socket.socket, int]:
    """A client after its login, and what it was told."""
    client = dial(port)
    pair = bytes([len(user)]) + user.encode() + bytes([len(password)]) + password.encode()
    client.sendall(b"\5\1\2\1" + pair)
    return client, receive(client, 4)[3]


def asked(port: int, user: str) -> tuple[socket.socket, int]:
    """A client after its request, and the reply."""
    client, verdict = login(port, user)
    assert verdict == 0
    client.sendall(V4_REQUEST)
    return client, receive(client, 10)[1]


def test_a_pair_is_compared_once(monkeypatch: pytest.MonkeyPatch, users_file: str, loop: str) -> None:
    """However many connections use it; wrong ones beside it wait for their own turn."""
    compared: list[bytes] = []
    gate = threading.Event()

    def matches(password: bytes, hashed: str) -> bool:
        compared.append(password)
        if password != b"secret":
            gate.wait(5)
        return bcrypt.checkpw(password, hashed.encode())

    monkeypatch.setattr(users_module, "_matches", matches)
    with relay([], users=users_file, loop=loop) as it:
        for number in range(20):
            client, verdict = login(it.port, "alice" if number % 2 else "alice-country-se")
            assert verdict == 0
            client.close()
        assert compared == [b"secret"]
        wrong = []
        for number in range(100):
            client = dial(it.port)
            word = f"no{number}".encode()
            client.sendall(b"\5\1\2\1\5alice" + bytes([len(word)]) + word)
            wrong.append(client)
        it.wait(lambda: len(compared) > 1)
        client, verdict = login(it.port, "alice")
        assert verdict == 0
        client.close()
        gate.set()
        for client in wrong:
            assert receive(client, 4)[3] == 1
            client.close()
        assert len(compared) <= 1 + users_module._QUEUE + users_module._THREADS


def test_an_address_that_keeps_failing_waits(users_file: str) -> None:
    """Those who know are let in from there all the same, once they were."""
    with relay([], users=users_file) as it:
        client, verdict = login(it.port, "alice")
        client.close()
        assert verdict == 0
        for _ in range(12):
            client, verdict = login(it.port, "alice", "wrong")
            client.close()
            assert verdict == 1
        started = time.monotonic()
        for _ in range(50):
            login(it.port, "alice", "wrong")[0].close()
        assert time.monotonic() - started < 5
        client, verdict = login(it.port, "alice")
        client.close()
        assert verdict == 0


def test_unknown_users_and_pairs_that_join_alike(tmp_path: Path) -> None:
    """No two pairs share a digest, and an unknown name is compared as well."""
    path = tmp_path / "users"
    path.write_text(f"ab:{HASH}\na:{HASH}\n")
    users = Users(str(path))
    assert users._digest("ab", "h", b"c") != users._digest("a", "h", b"bc")
    assert users._digest("a", "bh", b"c") != users._digest("ab", "h", b"c")
    assert users.known("ab", b"secret") is None
    users.close()


def test_limits_of_connections_and_countries(tmp_path: Path) -> None:
    """One more than allowed is 0x02; countries travel with the request."""
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}:max_connections=1 countries=se,uk\n")
    with faulty(echo) as port, relay([node(port)], users=str(path)) as it:
        first, told = asked(it.port, "alice")
        assert told == 0
        assert it.brain.requests[0].countries == {"se", "gb"}
        second, told = asked(it.port, "alice")
        assert told == 2
        assert it.watcher.refusals == [("socks5", "user_limit", "client")]
        first.close()
        it.wait(lambda: it.active == 0)
        third, told = asked(it.port, "alice")
        assert told == 0
        second.close()
        third.close()


def test_bytes_per_second(tmp_path: Path, loop: str) -> None:
    """A bucket that holds what a second brings."""
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}:bytes_per_second=1MB\n")

    def origin(talk: Talk) -> None:
        talk.open()
        talk.send(b"x" * 2_500_000)

    with faulty(origin) as port, relay([node(port)], users=str(path), loop=loop) as it:
        client, told = asked(it.port, "alice")
        assert told == 0
        started = time.monotonic()
        size = sum(map(len, iter(lambda: client.recv(1 << 20), b"")))
        assert size == 2_500_000
        assert time.monotonic() - started > 1.2
        client.close()


def test_bytes_per_day(tmp_path: Path) -> None:
    """Used up: open connections end, new ones are refused; the next day begins anew."""
    user = User(Entry("a", HASH, bytes_per_day=100, bytes_per_month=150))
    day = 86400.0
    user.charge(0.0, 60, 40)
    assert user.over(0.0) == "bytes_per_day"
    assert user.over(day) == ""
    user.charge(day, 50, 0)
    assert user.over(day) == "bytes_per_month"
    assert user.over(40 * day) == ""
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}:bytes_per_day=10\n")
    with faulty(echo) as port, relay([node(port)], users=str(path)) as it:
        client, told = asked(it.port, "alice")
        assert told == 0
        client.sendall(b"more than ten bytes")
        receive(client, 19)
        it.call(it.relay._look_at_sessions, it.relay.now())
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert it.brain.closings[0][3] == "quota"
        client.close()
        client, told = asked(it.port, "alice")
        assert told == 2
        client.close()


def test_the_file() -> None:
    """Options in any order; every fault at once, none with a hash in it."""
    text = f"# comment\n\nalice:{HASH}\nbob:{HASH}:role=read countries=SE,uk:bytes_per_second=1MB\n"
    entries = user_file.parse(text)
    assert entries["bob"] == Entry("bob", HASH, "read", frozenset({"se", "gb"}), 0, 1_000_000)
    bad = f"a-b:{HASH}\nx:plain\nalice:{HASH}\nalice:{HASH}\nc:{HASH}:colour=red\nd:{HASH}:role=x\ne\n"
    with pytest.raises(ConfigError) as caught:
        user_file.parse(bad)
    assert len(caught.value.faults) == 6
    assert HASH[10:] not in str(caught.value)
    with pytest.raises(ConfigError, match="no users"):
        user_file.parse("# nobody\n")


@pytest.mark.parametrize("content", [None, "", "broken", "# nobody\n"])
def test_a_file_that_is_gone_or_empty_changes_nothing(tmp_path: Path, content: str | None) -> None:
    """Nobody is let in by it, and nobody locked out."""
    path = tmp_path / "users"
    path.write_text(f"alice:{HASH}\n")
    users = Users(str(path))
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert users.reload() == []
    assert list(users.accounts) == ["alice"]
    users.close()
