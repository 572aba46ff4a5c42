"""The test bed itself."""

import os
import socket
import time
from pathlib import Path

import pytest

from testbed import socks
from testbed.danted import danted, rule
from testbed.target import deaf, holding, target


def test_a_request_goes_through(tmp_path: Path) -> None:
    """A GET is answered by the target, and the log says so."""
    with danted(tmp_path) as server, target() as site:
        answer = socks.get(server.port, ("127.0.0.1", site.port), "/bytes/100000")
        assert answer.endswith(bytes(100000))
        assert site.requests == ["/bytes/100000"]
        assert "tcp/connect [" in server.log.read_text()
        assert server.pid_file.read_text().strip() == str(server.process.pid)


def test_every_path_of_the_target(tmp_path: Path) -> None:
    """Status, delay and drip do as they are told."""
    with danted(tmp_path) as server, target() as site:
        for path, status in (
            ("/status/503", b"503"),
            ("/delay/0.1", b"200"),
            ("/drip?n=3&s=0.1", b"200"),
            ("/no", b"404"),
        ):
            assert socks.get(server.port, ("127.0.0.1", site.port), path).split()[1] == status


def test_a_blocked_destination_is_refused(tmp_path: Path) -> None:
    """Rules come before the one that passes all."""
    blocked = rule("socks block", to="127.0.0.9/32")
    with danted(tmp_path, rules=blocked) as server, pytest.raises(ConnectionError, match="reply 2"):
        socks.connect(server.port, ("127.0.0.9", 80))


def test_a_deaf_destination_never_answers(tmp_path: Path) -> None:
    """The dial runs into its timeout."""
    timed_out = pytest.raises(ConnectionError, match="reply 6")
    with danted(tmp_path, timeouts={"connect": 1}) as server, deaf() as port, timed_out:
        socks.connect(server.port, ("127.0.0.1", port))


def test_stop_ends_orphans(tmp_path: Path) -> None:
    """A child that outlives its mother is ended by stop()."""
    with danted(tmp_path) as server, holding() as site:
        client = socks.connect(server.port, ("127.0.0.1", site.port))
        server.terminate()
        time.sleep(0.2)
        assert server.pids()
        server.stop()
        assert not server.pids()
        client.close()


def test_a_failed_start_says_why(tmp_path: Path) -> None:
    """The error carries danted's own words."""
    with pytest.raises(RuntimeError, match="no-such-device"), danted(tmp_path, external="no-such-device"):
        pass


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")
def test_its_own_resolver(tmp_path: Path) -> None:
    """With a nameserver of its own, a name is asked for there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.77.4.1", 53))
        resolver.settimeout(10)
        with danted(tmp_path, nameserver="127.77.4.1") as server:
            client = socks.dial(server.port)
            socks.greet(client)
            socks.request(client, ("held.test", 80))
            assert b"held" in resolver.recv(512)
            client.close()
