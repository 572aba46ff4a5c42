"""Invariant: any report is taken by the account, or refused with ParseError; its totals never fall.

Any /proc/self/net/snmp gives counts, or ParseError.

python proof/fuzz/fuzz_tcp_info.py [SECONDS] [SEED]
"""

import json
from contextlib import suppress
from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse import tcp_info
from proxywatch.tcp.account import TcpAccount
from proxywatch.tcp.balance import Openings

RECORDED = Path(__file__).parents[2] / "tests" / "fixtures" / "sockets" / "tcp_reports.json"
SNMP = (
    b"Ip: Forwarding DefaultTTL\nIp: 1 64\n"
    b"Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens AttemptFails\nTcp: 1 -1 12 34 5\n"
)
_PORT = 33633


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    with suppress(ParseError):
        assert Openings.parse(data).opened >= 0 or b"-" in data
    with suppress(ParseError):
        tcp_info.row(data)
        tcp_info.cgroup(data)
        tcp_info.counters(data)
    account = TcpAccount(_PORT, lambda _address, _port: False, lambda _address: True)
    account.sides.served = True
    for looking in (False, True):
        account.connections.begin(1.0)
        account.listener(data, 1.0)
        account.living(data)
        if looking:
            account.ends([data], 2.0, probing=False)
        account.connections.finish(complete=True)
    account.ends([data, data], 3.0, probing=False)
    for totals in account.connections.totals.values():
        sums = (totals.opened, totals.sent, totals.received, totals.segments, totals.retransmitted)
        assert all(count >= 0 for count in sums)
        assert sum(totals.closed.values()) <= 3
    assert account.report() is not None


def main() -> None:
    """Mutate recorded rows and reports, and a table."""
    recorded = [bytes.fromhex(it) for rows in json.loads(RECORDED.read_text()).values() for it in rows]
    fuzz(one, [*recorded, SNMP])


if __name__ == "__main__":
    main()
