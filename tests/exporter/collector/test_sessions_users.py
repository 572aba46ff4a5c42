"""A real Dante that accepts any login, under names made of what it writes itself (root.

PAM is set in a namespace).
"""

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from proxywatch.dante.log import DanteLog
from proxywatch.dante.sessions import Sessions
from testbed.danted import BINARY

pytestmark = [pytest.mark.root, pytest.mark.slow]
CONF = """
logoutput: {log}
internal: 127.0.0.1 port = 1080
external: lo
clientmethod: none
socksmethod: pam.username
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 log: connect disconnect error }}
socks block {{ from: 0/0 to: 127.0.0.9/32 log: connect disconnect error }}
socks pass {{ from: 0/0 to: 0/0 log: connect disconnect error }}
"""
# {own} and {other} are endpoints: the client's own, and those of a session that is open meanwhile.
NAMES = (
    "eve",
    "a@10.0.0.9.5555 10.0.0.2.1080 -> 7, 7777777777 -> b",
    "a@{own} 127.0.0.1.1080 -> 7, 7777777777 -> 127.0.0.1.5 b",
    "a@{other} 127.0.0.1.1080 -> 7, 7777777777 -> 127.0.0.1.5 b",
    "a@{other} 127.0.0.1.1080",
    "a@{other} 127.0.0.1.1080: eof from client",
    "]: pass(1): tcp/connect [: {other} 127.0.0.1.1080 -> 1.1.1.1.1 2.2.2.2.80",
    "x.  Session duration: 9s",
    " -> ",
    "%@%@",
)
UP, DOWN = 18, 21


def drive() -> None:
    """In the namespace: a server, a target, one session that stays open, and a client for each name twice."""
    directory = Path(sys.argv[2])
    log = directory / "danted.log"
    (directory / "danted.conf").write_text(CONF.format(log=log))
    target = socket.create_server(("127.0.0.1", 80))
    server = subprocess.Popen([BINARY, "-f", directory / "danted.conf", "-p", directory / "pid"])
    try:
        while not log.exists() or b"running" not in log.read_bytes():
            pass
        other, peer = connected("other", target)
        name = ".".join(map(str, other.getsockname()))
        for user in NAMES:
            client, served = connected(user, target, other=name)
            client.sendall(b"x" * UP)
            assert len(served.recv(UP, socket.MSG_WAITALL)) == UP
            served.sendall(b"y" * DOWN)
            assert len(client.recv(DOWN, socket.MSG_WAITALL)) == DOWN
            served.close()
            client.close()
            blocked = login(user, other=name)
            blocked.sendall(b"\5\1\0\1" + socket.inet_aton("127.0.0.9") + struct.pack(">H", 80))
            assert blocked.recv(10)[1] == 2
            blocked.close()
        other.close()
        peer.close()
        while log.read_bytes().count(b"tcp/accept ]") < 2 * len(NAMES) + 1:
            pass
    finally:
        server.terminate()
        server.wait()


def login(user: str, other: str = "") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", 1080), timeout=10)
    own = ".".join(map(str, client.getsockname()))
    name = user.format(own=own, other=other).encode()
    client.sendall(b"\5\1\2")
    assert client.recv(2) == b"\5\2"
    client.sendall(b"\1" + bytes([len(name)]) + name + b"\1x")
    assert client.recv(2) == b"\1\0"
    return client


def connected(user: str, target: socket.socket, other: str = "") -> tuple[socket.socket, socket.socket]:
    client = login(user, other)
    client.sendall(b"\5\1\0\1" + socket.inet_aton("127.0.0.1") + struct.pack(">H", 80))
    assert client.recv(10)[1] == 0
    return client, target.accept()[0]


def test_names_of_users_move_nothing_but_what_really_happened(tmp_path: Path) -> None:
    """Every name succeeds once with 18 and 21 bytes, and is refused once by a rule."""
    pam = tmp_path / "pam.d"
    pam.mkdir()
    (pam / "sockd").write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
    script = f'ip link set lo up && mount --bind {pam} /etc/pam.d && exec "$@"'
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = ["unshare", "--net", "--mount", "sh", "-c", script, "sh", sys.executable, __file__, "drive"]
    subprocess.run([*command, str(tmp_path)], check=True, timeout=60, env=environment)
    log = DanteLog(Sessions(lambda _endpoint, _at: False))
    log.take((tmp_path / "danted.log").read_bytes())
    totals = log.sessions.totals
    count = len(NAMES)
    assert (log.unparsed, log.sessions.connections) == (0, {})
    assert totals.opened["connect", "client"] == totals.closed["connect", "client"] == count + 1
    assert (sum(totals.received.values()), sum(totals.sent.values())) == (UP * count, DOWN * count)
    assert {reason: n for reason, n in totals.failures.items() if n} == {"socks_rule": count}
    assert 0 < totals.ambiguous < count


if __name__ == "__main__" and sys.argv[1:2] == ["drive"]:
    drive()
