"""The relay opens connections to nodes and to nothing else, whatever fails."""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

RELAY = Path(__file__).parents[3] / "src/proxywatch/balancer/relay"
_OPENS = re.compile(
    r"create_connection|create_datagram_endpoint|sock_connect|\.connect\(|open_connection|getaddrinfo"
)


def test_one_place_dials() -> None:
    """The leg to a node, and the sockets of an association; a stale unix socket is not the network's."""
    found = {(path.name, match) for path in RELAY.glob("*.py") for match in _OPENS.findall(path.read_text())}
    assert found == {
        ("leg.py", "create_connection"),
        ("leg.py", ".connect("),  # writes a CONNECT
        ("association.py", "create_datagram_endpoint"),
        ("listening.py", ".connect("),  # a stale socket in the file system
    }


SCRIPT = """
import sys
sys.path[:0] = {path!r}
from balancer.relay.standing import node, relay, settings
from balancer.relay.test_socks import echo
from testbed.faulty_socks import faulty
from testbed.socks import dial, greet, reply, request
from proxywatch.quantity import Duration

def one(code):
    def script(talk):
        talk.greet()
        talk.reply(code)
    return script

def cut(talk):
    talk.greet()
    talk.reset()

def hang(talk):
    talk.greet()
    talk.request()
    talk.hang()

def lie(talk):
    talk.greet(b"HTTP/1.1 200 OK")

told = []
for script in (one(1), one(2), one(3), one(4), one(5), one(6), one(7), one(99), cut, hang, lie):
    quick = settings(dial_timeout=Duration(0.3))
    with faulty(script) as port, relay([node(port, "a"), node(port, "b")], quick) as it:
        for target in (("203.0.113.5", 80), ("example.com", 443), ("2001:db8::5", 80)):
            with dial(it.port) as client:
                greet(client)
                request(client, target)
                told.append(reply(client))
            with dial(it.port) as client:
                client.sendall(b"GET http://203.0.113.5/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
                told.append(int(client.recv(65536).split()[1]))
with relay([]) as it, dial(it.port) as client:
    greet(client)
    request(client, ("203.0.113.5", 80))
    told.append(reply(client))
assert 0 not in told and 200 not in told, told
print(len(told))
"""


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("nft") or not shutil.which("unshare"), reason="needs nftables")
def test_under_rules_that_count_all_else() -> None:
    """In a namespace where everything but loopback is dropped and counted: through every fault nothing is."""
    rules = (
        "add table inet t; add counter inet t stray; "
        "add chain inet t out {type filter hook output priority 0; policy accept;}; "
        "add rule inet t out oifname lo ip daddr 127.0.0.0/8 accept; "
        "add rule inet t out meta l4proto ipv6-icmp accept; "
        "add rule inet t out counter name stray drop"
    )
    script = textwrap.dedent(SCRIPT).format(path=sys.path)
    shell = (
        "ip link set lo up && ip link add far type veth peer name end && ip link set far up"
        " && ip link set end up && ip addr add 192.0.2.2/24 dev far"
        ' && ip route add default dev far && nft "$0" && "$1" -c "$2" && nft list counter inet t stray'
    )
    command = ["unshare", "--net", "sh", "-c", shell, rules, sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "Operation not permitted" in done.stderr:
        pytest.skip("needs root")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("67\n"), done.stdout
    packets = re.search(r"packets (\d+)", done.stdout)
    assert packets is not None
    assert int(packets[1]) == 0, done.stdout
