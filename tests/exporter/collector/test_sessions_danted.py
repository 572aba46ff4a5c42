"""The account of a real Dante's log, as it is written."""

import asyncio
import socket
import struct
import time
from pathlib import Path

from proxywatch.clock import SystemClock
from proxywatch.exporter.collector import sessions
from proxywatch.exporter.collector.sessions import SessionsCollector, Settings
from proxywatch.probe.own_traffic import OwnTraffic
from testbed.danted import danted
from testbed.socks import dial, greet, reply, request

CONNECT, BIND, ASSOCIATE = 1, 2, 3


async def settled(collector: SessionsCollector, lines: int) -> None:
    """Read until so many lines were read."""
    end = time.monotonic() + 10
    while collector.status().report.lines < lines:
        assert time.monotonic() < end, collector.status()
        await collector.update()
        await asyncio.sleep(0.01)


def associate(port: int, echo: tuple[str, int]) -> None:
    """One datagram there and back, by a client that does not say where its datagrams will come from."""
    with dial(port) as control, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        greet(control)
        control.sendall(b"\x05\x03\x00\x01" + b"\0" * 6)
        answer = control.recv(10)
        assert answer[1] == 0
        relay = ("127.0.0.1", struct.unpack(">H", answer[8:])[0])
        datagrams.settimeout(5)
        target = socket.inet_aton(echo[0]) + struct.pack(">H", echo[1])
        datagrams.sendto(b"\0\0\0\x01" + target + b"x" * 100, relay)
        datagrams.recv(2000)


async def test_every_command_of_a_real_server(tmp_path: Path) -> None:
    """CONNECT granted and refused, UDP from an unsaid port, a health check: counted, closed, nothing left."""
    with danted(tmp_path) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        own = OwnTraffic()
        settings = Settings(log=str(server.log), start="beginning")
        collector = sessions.build(settings, SystemClock(), own)
        dial(server.port).close()
        with socket.create_server(("127.0.0.1", 0)) as target, dial(server.port) as client:
            address, port = client.getsockname()
            own.opened(address, port, time.time())
            greet(client)
            request(client, target.getsockname(), CONNECT)
            assert reply(client) == 0
            refused = target.getsockname()
        with dial(server.port) as client:
            greet(client)
            request(client, refused, CONNECT)
            assert reply(client) == 5
        echo.bind(("127.0.0.1", 0))
        asyncio.get_running_loop().run_in_executor(None, _echo_once, echo)
        await asyncio.to_thread(associate, server.port, echo.getsockname())
        await settled(collector, server.log.read_bytes().count(b"\n"))
        for _ in range(100):
            await collector.update()
            if collector.active() == 0:
                break
            await asyncio.sleep(0.05)
        report = collector.status().report
        print(server.log.read_text())
        assert (report.successful, report.failed, report.health_checks, report.active) == (2, 1, 1, 0)
        assert [(cause.reason, cause.count) for cause in report.causes] == [("refused", 1)]
        assert report.opened == {"connect": 1, "bind": 0, "udpassociate": 1}
        totals = collector._log.sessions.totals
        assert (totals.opened["connect", "self"], totals.closed["udpassociate", "client"]) == (1, 1)
        assert (sum(totals.received.values()), sum(totals.sent.values())) == (100, 100)
        assert report.unparsed == 0
        await collector.close()


def _echo_once(echo: socket.socket) -> None:
    data, sender = echo.recvfrom(2000)
    echo.sendto(data, sender)


async def test_check_reads_the_rules_of_the_file_that_a_running_server_was_started_with(
    tmp_path: Path,
) -> None:
    """After its `-f`, wherever that is; of several servers that which writes our log."""
    with danted(tmp_path, log="error") as server:
        collector = sessions.build(Settings(log=str(server.log)), SystemClock(), OwnTraffic())
        [_, hint] = await collector.examine()
    assert hint.level == "hint"
    assert f"{server.conf}:" in hint.fix
    assert "change `log: error` to `log: connect disconnect error`" in hint.fix
